"""Conversion of arrays to the planes that are solved, and back; comparison of images.

layout   axes, data range and type of an array
data     planes, missing and kept pixels, spacing
metrics  PSNR and SSIM
"""
