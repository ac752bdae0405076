"""The command line: it parses options, shows progress and messages, and sets exit codes.

app       the entry point, the top level, and how Typer shows help and usage errors
run, watch, tune, noise, compare, learn, report, help   one module per command
typer_options   the options of the commands, made from `tvdenoise.options`, and how typed values become `FileOptions`
console   messages and progress bars on standard error
output    tables and lines on standard output, and the messages about files and runs
exits     errors that end a command, and signals: one line on standard error and an exit code
"""
