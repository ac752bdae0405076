"""Conversion of arrays to the planes that are solved, and back; comparison of images.

arrangement  stacks of images, and signals
data         axes, data range and type of an array; planes, missing and kept pixels, spacing
metrics      PSNR and SSIM
specks       specks of black-and-white images
"""
