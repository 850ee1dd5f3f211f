"""The command line. It parses, calls one function, and maps errors to exit codes; nothing else happens here.

Heavy modules are imported inside the commands: ``finetide --help`` must answer at once.
"""

from finetide.cli.main import main

__all__ = ["main"]
