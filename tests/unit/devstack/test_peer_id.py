from __future__ import annotations

from devstack.peer_id import fresh_peer_id, peer_id_of


def test_the_peer_id_of_the_libp2p_specification() -> None:
    # libp2p specs peer-ids/peer-ids.md, secp256k1 test vector
    key = bytes.fromhex("037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99")
    assert peer_id_of(key) == "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY"


def test_each_node_has_another_peer_id() -> None:
    assert fresh_peer_id().startswith("16Uiu2HA")
    assert fresh_peer_id() != fresh_peer_id()
