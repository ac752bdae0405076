"""Conversion of arrays to the planes that are solved, and back; comparison of images.

arrangement  stacks of images, and signals
data         axes, units and type of an array; planes, missing, absent and kept pixels, spacing
impulses     pixels that no neighbour supports
metrics      PSNR and SSIM
specks       specks of black-and-white images
validity     values that stand for missing data, and clipped ones
windows      sums over the window around each pixel
"""
