"""The talk's program as a contender, using the protocol of `contenders/serve.ts`."""

import json
import resource
import sys
import time
from urllib.parse import urlsplit

from minio import Minio

from my_minio import run, start_tracing


def main() -> None:
    settings = json.loads(sys.argv[1])
    provider = start_tracing(settings["otlpEndpoint"])
    client = Minio(
        urlsplit(settings["endpoint"]).netloc,
        access_key=settings["accessKey"],
        secret_key=settings["secretKey"],
        region=settings["region"],
        secure=False,
    )
    bucket = settings["bucket"]

    for _ in range(settings["warmUpRuns"]):
        run(client, bucket)
    flush(provider)
    answer({"ready": True})
    for line in sys.stdin:
        answer(measure(int(line.removeprefix("run ")), client, bucket, provider))
    provider.shutdown()


def measure(runs: int, client: Minio, bucket: str, provider) -> dict[str, float]:
    run(client, bucket)
    flush(provider)

    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    for _ in range(runs):
        run(client, bucket)
    end = time.perf_counter()
    flush(provider)
    flushed = time.perf_counter()
    after = resource.getrusage(resource.RUSAGE_SELF)

    rss_unit_bytes = 1 if sys.platform == "darwin" else 1024
    return {
        "runs": runs,
        "cpuUserMs": (after.ru_utime - before.ru_utime) * 1000,
        "cpuSystemMs": (after.ru_stime - before.ru_stime) * 1000,
        "wallMs": (end - start) * 1000,
        "flushMs": (flushed - end) * 1000,
        "peakRssBytes": after.ru_maxrss * rss_unit_bytes,
    }


def flush(provider) -> None:
    if not provider.force_flush():
        raise RuntimeError("flush timed out before all spans were exported")


def answer(value: dict) -> None:
    print(json.dumps(value), flush=True)


main()
