"""The verbs of the command, a file each: parse, one library call, print."""
