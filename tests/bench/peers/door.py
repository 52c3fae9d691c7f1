"""The door: check the signature, enqueue, answer 201."""

import base64
import hashlib
import hmac
import os

from fastapi import FastAPI, Request, Response

from tasks import apply_event

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
app = FastAPI()


@app.post("/webhooks/scalekit")
async def receive(request: Request) -> Response:
    body = await request.body()
    message_id = request.headers["webhook-id"]
    signed = f"{message_id}.{request.headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    if not hmac.compare_digest(expected, request.headers["webhook-signature"]):
        return Response(status_code=400)
    apply_event.delay(message_id, body.decode())
    return Response(status_code=201)
