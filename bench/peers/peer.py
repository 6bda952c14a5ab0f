"""One measurement of a peer: a script of this folder as a process of its own, in the interpreter that has the peers."""

import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent


def peer(options, script, what, *words):
    """The line of JSON that it prints in the end."""
    command = [options.python, HERE / script, what, *words, "--threads", options.threads]
    return json.loads(subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL).stdout.splitlines()[-1])
