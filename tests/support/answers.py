"""An answer of a service that is reached over the network, for the tests of whole installations."""

import json
from dataclasses import dataclass
from typing import Any, Self

import urllib3


@dataclass
class Answer:
    status: int
    headers: urllib3.HTTPHeaderDict
    body: Any  # the JSON, or None where the body is not JSON

    @classmethod
    def of(cls, response: urllib3.BaseHTTPResponse) -> Self:
        try:
            body = json.loads(response.data)
        except ValueError:
            body = None
        return cls(response.status, response.headers, body)
