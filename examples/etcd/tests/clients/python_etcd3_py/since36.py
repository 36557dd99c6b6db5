"""What this library lacks for etcd 3.6, which calls the text of an error `message` and not `error`."""

import requests

answered = requests.Response.json


def with_error(self, **options):
    answer = answered(self, **options)
    if isinstance(answer, dict) and "message" in answer:
        answer.setdefault("error", answer["message"])
    return answer


requests.Response.json = with_error
