# Asks the health check until it answers 200, for a minute: a Service takes a moment to come into being.
import os
import ssl
import sys
import time
import urllib.request

scheme, service, port, path = sys.argv[1:]
host = os.environ.get(service.upper().replace("-", "_") + "_SERVICE_HOST") or service
host = f"[{host}]" if ":" in host else host
url = f"{scheme}://{host}:{port}{path}"
anyone = ssl._create_unverified_context()  # the certificate is for other names than this address
until = time.monotonic() + 60
while True:
    try:
        with urllib.request.urlopen(url, timeout=5, context=anyone) as answer:
            sys.exit(print(f"{url}: {answer.read().decode()}"))
    except OSError as error:
        detail = getattr(error, "read", bytes)().decode(errors="replace")
        print(f"{url}: {error} {detail}", flush=True)
    if time.monotonic() > until:
        sys.exit("the agent is not well, or cannot be reached")
    time.sleep(1)
