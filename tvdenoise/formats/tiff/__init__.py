"""TIFF. Its modules, in reading order:

family       the functions that read and write TIFF
directories  the directories of a file: screening, their fields byte for byte, and the tags that describe the image
colour_maps  colour maps that are the LUT of a grey image
samples      samples that tifffile decodes, that Pillow decodes, and that are refused; files that Pillow does not open
segments     decoding strips and tiles
pages        several pages, their axes, and each as a file of its own
overviews    overviews of a page, which are made anew
ome          planes and axes in OME's XML
writing      writing pages and their tags
"""
