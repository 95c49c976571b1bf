"""A call over HTTP, as a switch or a relay with a web interface takes it."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from lineside.devices.cameras.masking import masked
from lineside.devices.errors import LinkError


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object) -> None:
        """An answer that points elsewhere is an error: a call goes where the station file says."""


class HttpCall:
    """Goes directly to `url`: by no proxy of the environment, and nowhere else where the answer redirects."""

    def __init__(self, url: str, method: str, headers: Mapping[str, str], timeout_s: float) -> None:
        self._url, self._method, self._headers, self._timeout_s = url, method, dict(headers), timeout_s
        self._name = f"http {masked(url)}"
        self._opener = build_opener(ProxyHandler({}), _NoRedirect())

    def send(self, body: bytes, content_type: str) -> None:
        """Raises LinkError where the answer is not one of 200 to 299, there is none, or the call cannot be made."""
        data = None if self._method == "GET" else body
        kind = {} if data is None else {"Content-Type": content_type}
        request = Request(self._url, data=data, headers=kind | self._headers, method=self._method)
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read(1)
        except HTTPError as error:
            with error:
                raise LinkError(f"{self._name}: answers {error.code} {error.reason}") from error
        except (ValueError, http.client.InvalidURL):  # which quote address and headers, and these may be secret
            raise LinkError(f"{self._name}: cannot be called; are address and headers plain ASCII?") from None
        except (URLError, OSError, http.client.HTTPException) as error:
            why = error.reason if isinstance(error, URLError) else error
            raise LinkError(f"{self._name}: no answer within {self._timeout_s:g} s ({why})") from error
