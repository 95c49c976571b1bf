"""The hub itself: what a model holds, and its files, by `huggingface_hub`.

A file arrives below the folder that it is meant for; a download that was broken off goes on where it stopped. Nothing
else is written, and nothing reported (`HF_HUB_DISABLE_TELEMETRY`, which Lineside sets). The token of `HF_TOKEN` goes to
the usual hub alone, and into no message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
from huggingface_hub import constants, errors, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from lineside.export.errors import PullFailed
from lineside.export.pull.listing import HubFile, Listing
from lineside.export.pull.wanted import Wanted, needed

SHA256_DIGITS = 64
INCOMPLETE = ".incomplete"
Arrived = Callable[[int], None]
"""Called with the bytes that came since the last call."""


class Hub:
    """One model of one hub."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.endpoint = wanted.endpoint or constants.ENDPOINT
        self._token: bool | None = False if wanted.endpoint not in ("", constants.ENDPOINT) else None

    def listing(self) -> Listing:
        """Of the hub; offline, of what its cache holds.

        Raises PullFailed; Unsupported where the files are none that Lineside exports.
        """
        with self._told():
            commit, found = self._of_cache() if constants.is_offline_mode() else self._of_hub()
        return Listing(self._wanted, commit, [found[name] for name in needed(sorted(found), self._wanted)])

    def _of_hub(self) -> tuple[str, dict[str, HubFile]]:
        api = huggingface_hub.HfApi(self.endpoint, token=self._token)
        info = api.model_info(self._wanted.repo, revision=self._wanted.revision, files_metadata=True)
        files = {}
        for each in info.siblings or ():
            sha256 = each.lfs.sha256 if each.lfs is not None else ""
            files[each.rfilename] = HubFile(each.rfilename, each.size or 0, sha256, each.blob_id or "")
        return info.sha or self._wanted.revision, files

    def _of_cache(self) -> tuple[str, dict[str, HubFile]]:
        """The cache names the content of a file by its hash."""
        folder = Path(huggingface_hub.snapshot_download(self._wanted.repo, revision=self._wanted.revision))
        files = {}
        for path in folder.rglob("*"):
            if path.is_file():
                name, content = path.relative_to(folder).as_posix(), path.resolve()
                large = len(content.name) == SHA256_DIGITS
                hashes = (content.name, "") if large else ("", content.name)
                files[name] = HubFile(name, content.stat().st_size, *hashes)
        return folder.name, files

    def fetch(self, file: HubFile, commit: str, folder: Path, arrived: Arrived) -> None:
        """Into `folder`, and checked; what lies in the hub's cache is linked to. Raises PullFailed."""
        if (cached := self._cached(file, commit)) is not None:
            path = folder / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(cached)
        else:
            path = self._download(file, commit, folder, arrived)
        if not file.is_whole(path):
            path.unlink()
            where = f"what the cache holds ({cached})" if cached else f"what {self.endpoint} sent"
            raise PullFailed(
                f"{file.name} of {self._wanted.repo}: {where} is not the file that is listed (another SHA-256): "
                "clear the cache, or give the same command again"
            )

    def _cached(self, file: HubFile, commit: str) -> Path | None:
        if self.endpoint != constants.ENDPOINT:
            return None
        found = huggingface_hub.try_to_load_from_cache(self._wanted.repo, file.name, revision=commit)
        return Path(found).resolve() if isinstance(found, str) else None

    def _download(self, file: HubFile, commit: str, folder: Path, arrived: Arrived) -> Path:
        """Goes on behind what is there. (`hf_hub_download` keeps nothing of a file that did not come whole.)"""
        path = folder / file.name
        part = path.with_name(f"{path.name}{INCOMPLETE}")
        part.parent.mkdir(parents=True, exist_ok=True)
        with self._told(), part.open("ab") as out:
            if out.tell() > file.size:
                out.truncate(0)
            http_get(
                self._url(file, commit),
                out,
                resume_size=out.tell(),
                headers=build_hf_headers(token=self._token),
                expected_size=file.size,
                tqdm_class=_counter(arrived),
            )
        part.replace(path)
        return path

    def _url(self, file: HubFile, commit: str) -> str:
        return str(hf_hub_url(self._wanted.repo, file.name, revision=commit, endpoint=self.endpoint))

    def head(self, file: HubFile, commit: str, count: int, start: int = 0) -> bytes:
        """`count` bytes of a file, from `start` on. Raises PullFailed."""
        if (cached := self._cached(file, commit)) is not None:
            with cached.open("rb") as content:
                content.seek(start)
                return content.read(count)
        headers = build_hf_headers(token=self._token) | {"Range": f"bytes={start}-{start + count - 1}"}
        url = self._url(file, commit)
        with self._told(), get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
            hf_raise_for_status(response)
            skipped = 0 if response.status_code == HTTPStatus.PARTIAL_CONTENT else start  # it knows no ranges
            got = b""
            for chunk in response.iter_bytes():
                got += chunk
                if len(got) >= skipped + count:
                    break
            return got[skipped : skipped + count]

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the hub's client as one sentence that says what to do."""
        repo, page = self._wanted.repo, f"{self.endpoint}/{self._wanted.repo}"
        try:
            yield
        except errors.GatedRepoError as error:
            raise PullFailed(
                f"{repo} is gated: agree to its terms on {page}, make a token there that may read it, and set HF_TOKEN"
            ) from error
        except errors.RevisionNotFoundError as error:
            raise PullFailed(f"{repo} has no revision {self._wanted.revision}: see {page}") from error
        except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
            raise PullFailed(
                f"{self.endpoint} shows no model {repo}: check the name; for a private one set HF_TOKEN to a token "
                "that may read it"
            ) from error
        except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
            if constants.is_offline_mode():
                raise PullFailed(
                    f"HF_HUB_OFFLINE is set, and {repo} is not here as a whole: unset it, or give the path of a folder "
                    "to `lineside export`"
                ) from error
            raise self._unreachable() from error
        except errors.HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            raise PullFailed(
                f"{self.endpoint} answered {status} for {repo}: give the same command again later"
            ) from error
        except (httpx2.HTTPError, ConnectionError, TimeoutError) as error:
            raise self._unreachable() from error
        except OSError as error:
            if error.errno is None:  # the file did not come whole
                raise self._unreachable() from error
            raise

    def _unreachable(self) -> PullFailed:
        return PullFailed(
            f"{self.endpoint} cannot be reached, or broke off: give the same command again, which goes on from there"
        )


def _counter(arrived: Arrived) -> Any:
    """A class with as much of tqdm as the hub's client uses."""

    class Counter:
        def __init__(self, *_: object, initial: int = 0, **__: object) -> None:
            arrived(initial)

        def update(self, count: float | None = 1) -> None:
            arrived(int(count or 0))

        def set_description(self, *_: object, **__: object) -> None: ...

        def close(self) -> None: ...

        def __enter__(self) -> Counter:
            return self

        def __exit__(self, *_: object) -> None: ...

    return Counter
