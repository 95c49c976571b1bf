"""A network camera on loopback: MJPEG over HTTP, written by hand. It sends a picture when the test says so."""

from __future__ import annotations

import socket
import threading
from base64 import b64encode

import cv2
import numpy as np

BOUNDARY = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n"
HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
REFUSALS = {
    401: b'HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="cam"\r\n\r\n',
    403: b"HTTP/1.0 403 Forbidden\r\n\r\n",
    404: b"HTTP/1.0 404 Not Found\r\n\r\n",
}


def numbered(number: int) -> bytes:
    """A JPEG that shows its number, 0 to 255: in black and white stripes, its bits. Below them is noise in colour, so
    that it is not so small that FFmpeg waits for a second one to see what it is.
    """
    stripes = [235 if number >> bit & 1 else 20 for bit in range(8)]
    pixels = np.repeat(np.repeat(np.array(stripes, np.uint8), 16)[None, :, None], 64, axis=0)
    noise = np.random.default_rng(number).integers(0, 255, (64, 128, 3), np.uint8)
    pixels = np.concatenate([np.repeat(pixels, 3, axis=2), noise])
    good, data = cv2.imencode(".jpg", pixels)
    assert good
    return data.tobytes()


def number_in(pixels: np.ndarray) -> int:
    return sum(1 << bit for bit in range(8) if pixels[:64, bit * 16 + 4 : bit * 16 + 12].mean() > 128)


class MjpegCamera:
    """Attributes:
    refuses: a status that viewers are answered with; 0 to let them see.
    login: `user:password` without which they are answered with 401; empty for none.
    """

    def __init__(self, port: int = 0) -> None:
        self.refuses, self.login = 0, ""
        self._viewers: list[socket.socket] = []
        self._arrived = threading.Condition()
        self._asked = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self.address = f"http://127.0.0.1:{self.port}/stream"
        threading.Thread(target=self._accept, daemon=True).start()

    def send(self, *pictures: bytes) -> None:
        """To everybody who looks; waits until somebody does."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._viewers, 30)
            viewers = list(self._viewers)
        for viewer in viewers:
            viewer.sendall(b"".join(BOUNDARY % (len(picture), picture) for picture in pictures))

    def wait_asked(self, count: int) -> None:
        """Until somebody has come so often."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._asked >= count, 60)

    def hang_up(self) -> None:
        with self._arrived:
            for viewer in self._viewers:
                viewer.close()
            self._viewers.clear()

    def close(self) -> None:
        """Nobody listens any more: the connection is refused."""
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                viewer, _ = self._listener.accept()
            except OSError:
                return
            try:
                while b"\r\n\r\n" not in viewer.recv(65536, socket.MSG_PEEK):
                    pass
                allowed = b64encode(self.login.encode()) in viewer.recv(65536)
                refuses = self.refuses or (0 if allowed else 401)
                viewer.sendall(REFUSALS[refuses] if refuses else HEAD)
            except OSError:
                continue
            with self._arrived:
                self._asked += 1
                if refuses:
                    viewer.close()
                else:
                    self._viewers.append(viewer)
                self._arrived.notify_all()
