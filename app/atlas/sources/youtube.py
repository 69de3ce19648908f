"""Transcripts of videos, from YouTube, which refuses most addresses of data centres.

The library for it brings its own client. It is held to one host, to a time and to a size.
"""

import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from youtube_transcript_api import YouTubeTranscriptApi
from youtube_transcript_api import _errors as errors
from youtube_transcript_api.proxies import GenericProxyConfig

from atlas.settings import Settings
from atlas.sources.transcripts import Segment

HOST = "www.youtube.com"
#: One answer, all of it.
MAX_BYTES = 8_000_000
TIMEOUT_SECONDS = 20.0


class VideoBlocked(Exception):  # noqa: N818
    """YouTube refuses to answer this machine: not this video's fault."""


class NoTranscript(Exception):  # noqa: N818
    """There is none for this video now. `for_good` says that there will be none."""

    def __init__(self, message: str, *, for_good: bool) -> None:
        super().__init__(message)
        self.for_good = for_good


class VideoFailed(Exception):  # noqa: N818
    """Asking failed in some other way, which may pass."""


_FOR_GOOD = (
    errors.VideoUnavailable,
    errors.InvalidVideoId,
    errors.AgeRestricted,
    errors.VideoUnplayable,
)


class _OneHost(HTTPAdapter):
    """Asks one host by https, for so long and for so much; follows no redirect to elsewhere."""

    def send(self, request: requests.PreparedRequest, *_args: Any, **options: Any) -> requests.Response:  # noqa: ANN401
        """Send a request, and read its answer."""
        if not (request.url or "").startswith(f"https://{HOST}/"):
            raise requests.exceptions.InvalidURL(f"only {HOST} is asked")
        ends = time.monotonic() + TIMEOUT_SECONDS
        options |= {"stream": True, "timeout": (10, 10)}
        response = super().send(request, **options)
        body = bytearray()
        for chunk in response.iter_content(65_536):
            body += chunk
            if len(body) > MAX_BYTES or time.monotonic() > ends:
                response.close()
                raise requests.exceptions.ConnectionError("the answer is too long or too slow")
        response._content = bytes(body)
        return response


def session() -> requests.Session:
    """Return a client for this one purpose: it reads no proxies, passwords or certificates around it."""
    made = requests.Session()
    made.trust_env = False
    made.max_redirects = 3
    made.adapters.clear()
    made.mount("https://", _OneHost())
    return made


def fetch(video: str, settings: Settings) -> tuple[list[Segment], str]:
    """Return the transcript of a video, and its language. Raises VideoBlocked, NoTranscript, VideoFailed."""
    proxy = settings.youtube_proxy.get_secret_value() if settings.youtube_proxy else None
    config = GenericProxyConfig(proxy, proxy) if proxy else None
    try:
        api = YouTubeTranscriptApi(proxy_config=config, http_client=session())
        chosen = _chosen(list(api.list(video)))
        found = chosen.fetch()
    except (errors.RequestBlocked, errors.PoTokenRequired, errors.FailedToCreateConsentCookie) as error:
        raise VideoBlocked(f"YouTube refuses to answer this machine ({type(error).__name__}).") from error
    except _FOR_GOOD as error:
        raise NoTranscript("This video cannot be watched without an account.", for_good=True) from error
    except (errors.TranscriptsDisabled, errors.NoTranscriptFound) as error:
        raise NoTranscript("This video has no subtitles (yet).", for_good=False) from error
    except NoTranscript:
        raise
    except Exception as error:  # the library trusts what it is answered
        raise VideoFailed(f"YouTube could not be asked for subtitles ({type(error).__name__}).") from error
    segments = [[one.start, one.start + one.duration, None, one.text] for one in found]
    return segments, str(found.language_code)


def _chosen(offered: list[Any]) -> Any:  # noqa: ANN401 - the library's own type
    """Choose what people wrote in the language that is spoken, else what was recognised, else the first."""
    spoken = next((one for one in offered if one.is_generated), None)
    written = [one for one in offered if not one.is_generated]
    if spoken is not None:
        return next((one for one in written if one.language_code[:2] == spoken.language_code[:2]), spoken)
    if not written:
        raise NoTranscript("This video has no subtitles (yet).", for_good=False)
    return written[0]
