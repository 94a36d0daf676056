# SPDX-License-Identifier: Apache-2.0
"""delay_proxy: every byte arrives, answers arrive late, and ends and refusals are handed on: test_delay_proxy.py PROGRAM"""
import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
import unittest

PROGRAM = sys.argv.pop() if len(sys.argv) > 1 else "delay_proxy"
DELAY = 0.05
TIMEOUT = 60


class Echo:
    """A server that sends back what it gets until the end, on a loopback address of its own."""

    def __init__(self):
        self.address = f"127.{random.randint(2, 63)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
        self.listener = socket.create_server((self.address, 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.echo, args=(connection,), daemon=True).start()

    @staticmethod
    def echo(connection):
        with connection:
            while data := connection.recv(1 << 20):
                connection.sendall(data)

    def close(self):
        with contextlib.suppress(OSError):  # closed before
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which would hold it open
        self.listener.close()


class DelayProxyTest(unittest.TestCase):
    def setUp(self):
        self.server = Echo()
        self.addCleanup(self.server.close)

    def start(self, *args):
        proxy = subprocess.Popen([PROGRAM, *args], stdout=subprocess.PIPE, text=True)
        self.addCleanup(proxy.stdout.close)
        self.addCleanup(proxy.wait, TIMEOUT)
        self.addCleanup(proxy.terminate)
        return proxy.stdout.readline().strip()

    def start_beside(self):
        """The address at which the server is DELAY away."""
        address = self.server.address.replace("127.", "127.1", 1)
        port = self.server.port
        self.assertEqual(self.start(str(DELAY * 1000), address, self.server.address, f"{port}-{port}"), "ready")
        return address, port

    def round_trip(self, place, data):
        with socket.create_connection(place, TIMEOUT) as connection:
            began = time.monotonic()
            sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
            sender.start()
            got = bytearray()
            while part := connection.recv(1 << 20):
                if not got:
                    self.assertGreaterEqual(time.monotonic() - began, DELAY)
                got += part
            sender.join()
        self.assertTrue(bytes(got) == data, f"{len(got)} bytes, expected {len(data)}")

    def test_bytes_and_ends(self):
        place = self.start_beside()
        self.round_trip(place, b"x")
        self.round_trip(place, b"")
        self.round_trip(place, random.Random(1).randbytes(30 << 20))

    def test_connections_side_by_side(self):
        place, errors = self.start_beside(), []

        def one(number):
            try:
                self.round_trip(place, random.Random(number).randbytes(1 << 20))
            except BaseException as error:  # pylint: disable=broad-except
                errors.append(error)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])

    def test_nobody_listens(self):
        place = self.start_beside()
        self.server.close()
        with socket.create_connection(place, TIMEOUT) as connection:
            try:
                self.assertEqual(connection.recv(1), b"")
            except ConnectionResetError:
                pass

    @unittest.skipUnless(os.getuid() == 0, "network namespaces need root")
    def test_in_a_namespace(self):
        """The server's own address, and nothing else."""
        port = self.server.port
        path = self.start("-n", str(DELAY * 1000), self.server.address, f"{port}-{port}")
        script = ("import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60); "
                  "s.sendall(b'hello'); print(s.recv(5).decode())")
        done = subprocess.run(["nsenter", f"--net={path}", "/usr/bin/python3", "-c", script, self.server.address,
                               str(port)], stdout=subprocess.PIPE, text=True, check=True, timeout=TIMEOUT)
        self.assertEqual(done.stdout, "hello\n")


if __name__ == "__main__":
    unittest.main()
