"""The header that names a request from its input to its answer, apart from what answers."""

REQUEST_ID = "streamrec-request-id"
