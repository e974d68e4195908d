"""Headers of a model's records, which its inputs and its answers have alike."""

REQUEST_ID = "streamrec-request-id"  # names a request from its input to its answer
CONTENT_TYPE = "content-type"  # says what raw bytes are
