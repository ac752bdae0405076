"""What tests share.

values         small arrays, pixels of a file
samples        the sample images, noise of known kinds, distances between images
minimisers     minimisers that another method found
processes      the command in a process of its own
measured       the command with its time and memory
launcher       the same in forked processes, without the time for imports
makers         files of every format, kind of pixels and metadata, made by other programs
readers        what other programs find in a file
metadata       metadata that tests put into files
round_trips    files through the command, hardly smoothed
seeds          one small file of each kind, for damage
mutations      damage
hostile        files made to exhaust memory or time
animation_files, camera_files, jp2_files, tiff_files   files of these kinds, byte by byte
live_client, browser   the live page, without and with a browser
pages          the pages of documentation
"""
