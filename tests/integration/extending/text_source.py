"""An input source in one file: source `text` is a file with the text that the job gives."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import Field

from lotus_client.cid import RAW, Cid
from sp_plugin.inputs.base import InputContext, InputIdentity, Materialised, register_source
from sp_plugin.jobs.params import Params


class TextParams(Params):
    """`Text`."""

    text: str = Field(alias="Text", max_length=4096)


@register_source("text")
class TextSource:
    """The same text gives the same CID, so that approvers sign it."""

    params = TextParams

    async def identify(self, params: TextParams, context: InputContext) -> InputIdentity:
        return InputIdentity("text", Cid.of_sha2_256(RAW, params.text.encode()))

    async def materialise(
        self, params: TextParams, context: InputContext, into: Path
    ) -> Materialised:
        await asyncio.to_thread(into.write_text, params.text)
        return Materialised(into, len(params.text))
