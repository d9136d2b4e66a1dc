"""oras push TARGET FILE TYPE SUBJECT | pull TARGET DIR | tags TARGET, as the library does it."""

import json
import sys

from oras.client import OrasClient
from oras.oci import Subject

client = OrasClient(insecure=True)
action, target, *rest = sys.argv[1:]
if action == "push":
    file, kind, subject = rest
    answer = client.push(
        target=target,
        files=[file],
        manifest_config="config.json:" + kind,
        manifest_annotations={"org.example.file": file},
        subject=Subject(**json.loads(subject)) if subject else None,
        do_chunked=True,
        chunk_size=5000,
    )
    print(answer.headers["Docker-Content-Digest"], answer.headers.get("OCI-Subject", "-"))
elif action == "pull":
    print(*client.pull(target=target, outdir=rest[0]))
else:
    print(*client.get_tags(target))
