"""The version, said once: openapi.json takes it from here, and tests hold the changelog and deploy/kubernetes to it."""

VERSION = "1.0.0"
