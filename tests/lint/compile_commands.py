#!/usr/bin/python3
"""Prints compile_commands.json: compile_commands.py FILE..., with the compiler and
its flags, as a shell would read them, in the variable COMPILE."""

import json
import os
import sys

json.dump([{"directory": os.getcwd(), "file": name,
            "command": "%s -c %s" % (os.environ["COMPILE"], name)} for name in sys.argv[1:]],
          sys.stdout, indent=1)
print()
