"""The records of the log in an S3 bucket."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pagoda.errors import ConflictError, UnavailableError


class BucketStore:
    """Records in an S3 bucket, created with `If-None-Match: *` (S3, MinIO and Ceph honour it).

    Endpoint and credentials come from the usual variables (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, …).
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix.strip("/")
        limits = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
        self._s3: Any = boto3.client("s3", config=limits)

    def put(self, name: str, content: bytes) -> None:
        """See `RecordStore.put`."""
        try:
            self._s3.put_object(Bucket=self._bucket, Key=self._key(name), Body=content, IfNoneMatch="*")
        except (ClientError, BotoCoreError) as error:
            # 412: the name exists. 409: another writer is creating it this moment; whoever reads again sees who won.
            if _code(error) in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise ConflictError(f"s3://{self._bucket}/{self._key(name)} exists already") from None
            raise self._unavailable("write", name, error) from error

    def read(self, names: Sequence[str]) -> list[bytes]:
        """See `RecordStore.read`. They are fetched side by side, so a long log costs few round trips."""
        if len(names) == 1:
            found = [self._get(names[0])]
        else:
            with ThreadPoolExecutor(min(32, len(names))) as pool:
                found = list(pool.map(self._get, names))
        return [content for content in takewhile(lambda content: content is not None, found) if content is not None]

    def _get(self, name: str) -> bytes | None:
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=self._key(name))
            content: bytes = answer["Body"].read()
        except (ClientError, BotoCoreError) as error:
            if _code(error) == "NoSuchKey":
                return None
            raise self._unavailable("read", name, error) from error
        return content

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _unavailable(self, verb: str, name: str, error: Exception) -> UnavailableError:
        return UnavailableError(f"s3://{self._bucket}/{self._prefix}: cannot {verb} {name} ({error})")


def _code(error: Exception) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
