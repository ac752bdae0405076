"""Batches of files: plan first, then denoise, and report on each file.

request            input files and destinations; finding images among files and folders
slices             which of the files found are a volume together
outputs            jobs, output names, extra outputs, and refusals
in_place           replacing an input, which a second run must not denoise again
plan               all jobs and all refusals, before the first pixel is read; standard streams
admission          what the header of a file decides, for a run and a dry run
dry_run            what a plan would do
run                executing a plan
share              dividing processors and memory among jobs; estimating the time left
worker_pool        worker processes, seen from this process: jobs, messages, lost workers
worker             the loop that runs in each worker process
cluster            running jobs on a Dask cluster
runner             one job: read, solve, write
denoiser           one image or one volume
masks              where to denoise
bilevel            1-bit images, which are despeckled
work               base classes: denoise and write one file, and summarise its solves
planes             the images of a file one by one
volumes            the planes of a stack, or the slices of a folder, together
large              one image in parts
shared_parameters  the same parameters for a set
outcome            the outcome of a file and of a run
report, report_format   the report and its summary; the format of its lines
measures           noise and similarity of files
learning           learning a prior from clean images
watch, folder_events   a watched folder
tuning             the cells of a contact sheet, and choosing their crop
"""
