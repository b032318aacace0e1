"""The command line: one file a command. The only package that knows a terminal.

Command modules import click and nothing heavier; what a command needs is imported when it runs, so that `--help` and shell
completion answer at once.
"""
