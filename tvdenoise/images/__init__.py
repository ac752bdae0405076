"""Arrays as people have them, and the planes that are solved.

layout   axes, data range and type of an array, and the way back
data     planes, missing and kept pixels, spacing
metrics  PSNR and SSIM
"""
