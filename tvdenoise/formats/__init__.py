"""One module per format family.

family      what a format can carry, and the functions of a family
registry    all families, and how to find one
animation   what animated formats share
boxes       the boxes of AVIF, HEIF and JPEG 2000
png, png_chunks, gif, webp, jpeg, jp2, avif, heic, bmp, pnm, tiff   one family each
"""
