"""The version, said once: openapi.json has it from here, and tests hold the changelog and the image of a cluster to it."""

VERSION = "1.0.0"
