"""The command line: options to settings, progress and messages, exit codes; nothing else.

usage     how Typer shows help and usage errors
app       the entry point and the top level
run, tune, noise, compare, report, watch, help   one module per command
options   the options, by panel of the help
settings, numbers   from what was typed to settings
console   messages and progress on standard error
output    what users read: tables and lines on standard output, the lines about files and runs
exits     exit codes
"""
