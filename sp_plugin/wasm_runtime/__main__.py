"""`python -I <this file> zygote <parent pid>` or `… compile`: one of the two processes."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run the one that the first argument names, with our modules of this very tree."""
    root = str(Path(__file__).resolve().parents[2])
    sys.path.insert(0, root)
    from sp_plugin.wasm_runtime import compiler, zygote

    sys.path.remove(root)
    if sys.argv[1] == "zygote":
        zygote.main(int(sys.argv[2]))
    else:
        compiler.main()


if __name__ == "__main__":
    main()
