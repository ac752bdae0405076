"""Many files: planned first, then done, each one reported.

request            which files, and where results go
streams            standard input and output
discovery          images among files and folders
outputs            a job, the names of its outputs, extra outputs, and what is refused
in_place           replacing an input once
plan               every job and every refusal, before the first pixel
dry_run            what a plan would do
run                carrying out a plan
share              processors, memory and time for each job
workers, worker    worker processes: the pool in this process, and what runs in each
cluster            a Dask cluster as workforce
runner             one job: read, solve, write
denoiser           one image or one volume
masks              where to denoise
work               one file on its way into a format, and the summary of its solves; in one of three ways:
planes             its images one by one
volumes            the planes of a stack together
large              one image in parts
shared_parameters  the same parameters for a set
outcome            what became of a file, and of a run
report, report_format, report_summary   the report, its lines, its summary
measures           noise and similarity of files
watch, folder_events   a watched folder
tuning, crop       the cells of a contact sheet, and where they are cut
"""
