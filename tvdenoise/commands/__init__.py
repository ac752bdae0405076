"""The command line: options to settings, progress and messages, exit codes; nothing else."""
