# SPDX-License-Identifier: Apache-2.0
"""The shells' completion knows every command and option that the help does."""
import re
import shutil
import subprocess
import unittest

import cases


class Completion(cases.Case):
    def help(self, *command):
        done = subprocess.run([cases.BIN, *command, "--help"], stdout=subprocess.PIPE, check=True)
        return done.stdout.decode()

    def commands(self):
        part = self.help().split("Commands:\n")[1].split("\n\n")[0]
        return [line.split()[0] for line in part.splitlines()]

    def backends(self):
        return [line.split()[0] for line in self.help().split("\nBackends:\n")[1].split("\n\n")[0].splitlines()]

    def options(self, *command):
        return re.findall(r"^  (?:-\w, )?(--[\w-]+)", self.help(*command), re.M)

    def test_the_table_is_whole(self):
        self.assertEqual(set(self.commands()), set("create ls info load save get set clone map apply clear rm check show "
                                                   "bench completion".split()))
        self.assertIn("--connection-options", self.options())
        self.assertIn("ram", self.backends())
        self.assertIn("--chunk-size", self.options("create"))

    def complete_in_bash(self, script, *words):
        line = f"""source {script}
            COMP_WORDS=(dosna {' '.join(words)}); COMP_CWORD={len(words)}; _dosna; echo "${{COMPREPLY[@]}}" """
        done = subprocess.run(["bash", "-c", line], stdout=subprocess.PIPE, check=True)
        return done.stdout.decode().split()

    def test_bash(self):
        script = self.path("completion.bash")
        with open(script, "wb") as file:
            subprocess.run([cases.BIN, "completion", "bash"], stdout=file, check=True)
        offered = self.complete_in_bash(script, "''")
        for command in self.commands():
            self.assertIn(command, offered)
            known = self.complete_in_bash(script, "--connection", "x", command, "--")
            for option in self.options(command) + self.options():
                self.assertIn(option, known, command)
        self.assertEqual(self.complete_in_bash(script, "--engine", "m"), ["mpi"])
        self.assertEqual(self.complete_in_bash(script, "--jlbackend", "''"), ["threading", "multiprocessing"])
        self.assertEqual(self.complete_in_bash(script, "--backend", "''"), self.backends())
        self.assertEqual(self.complete_in_bash(script, "inf"), ["info"])

    @unittest.skipUnless(shutil.which("zsh"), "no zsh")
    def test_zsh(self):
        script = subprocess.run([cases.BIN, "completion", "zsh"], stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["zsh", "-n"], input=script, check=True)
        text = script.decode()
        for command in self.commands():
            self.assertIn(f"'{command}:", text)
            for option in self.options(command):
                self.assertIn(f"'{option}[", text.split(f"    {command}) ")[1].split(";;")[0])
        for option in self.options():
            self.assertIn(f"'{option}[", text)
        self.assertIn(f":({' '.join(self.backends())})'", text)
