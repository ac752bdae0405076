"""One module per format family.

family      formats, and the functions that read and write them
registry    all families, and lookup by name, extension or codec
animation   frames of animated formats
boxes       the boxes of AVIF, HEIF and JPEG 2000
thumbnails  small copies of an image in its metadata
multi_picture  the index of the images that follow a JPEG
png, png_chunks, png_pixels, gif, webp, jpeg, jp2, avif, heic, bmp, pnm, tiff   one family each
"""
