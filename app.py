"""Start the page: it encodes photos as color, shape and texture codes, renders them again, and draws new pictures.

python app.py
"""

import argparse
import importlib.util
import os
import socket
import sys
import tempfile

from cst.flags import run
from cst.tokenizer.onnx_runtime import TARGETS

EXAMPLES = """examples:
  python app.py                                   the page at http://127.0.0.1:7860, only for this machine
  python app.py --host 0.0.0.0 --port 8000        for everyone who can reach this machine
  python app.py --tokenizer runs/mine --prior runs/mine-gpt
  python app.py --selfcheck                       check that everything the page needs is here, and how fast it is
"""


def main(arguments: list[str] | None = None) -> None:
    flags = parse(arguments)
    if not flags.selfcheck:
        check_port(flags.host, flags.port)
    if flags.mcp and importlib.util.find_spec("mcp") is None:
        raise ValueError('--mcp needs an extra of Gradio that is not installed: pip install "gradio[mcp]"')
    uploads = None if flags.selfcheck else own_upload_folder()
    from space.device import default_device
    from space.malloc_trim import give_back_freed_memory
    from space.models import Models, by_kind

    give_back_freed_memory()
    options = {
        "priors": by_kind(flags.prior), "target": flags.target, "threads": flags.threads,
        "npu_config": flags.npu_config, "device": flags.device or default_device(),
    }  # fmt: skip
    if flags.selfcheck:
        from space.selfcheck import selfcheck

        sys.exit(2 if selfcheck(flags.tokenizer, **options) else 0)
    models = Models(flags.tokenizer, **options)
    if fallback := models.cst("int8").tokenizer.fallback:
        print(f"--target {flags.target}: {fallback}; the CPU is used", file=sys.stderr)
    for kind, reason in models.refusals.items():
        print(f"no new pictures by {kind}: {reason}", file=sys.stderr)
    from space.page import build, serve  # Gradio takes two seconds to import: mistakes above are answered before

    serve(build(models), host=flags.host, port=flags.port, share=flags.share, mcp=flags.mcp, uploads=uploads)


def own_upload_folder() -> str | None:
    """Give this page a new folder for uploads, unless the environment names one.

    Gradio's default folder is shared by all users of a machine, and may belong to another one. Gradio reads the
    variable when it is imported.
    """
    if "GRADIO_TEMP_DIR" in os.environ:
        return None
    os.environ["GRADIO_TEMP_DIR"] = folder = tempfile.mkdtemp(prefix="cst-page-")
    return folder


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python app.py", description=__doc__.splitlines()[0], epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    serving = parser.add_argument_group("serving")
    # A Hugging Face Space says where to listen in these two variables.
    host, port = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), os.environ.get("GRADIO_SERVER_PORT", "7860")
    serving.add_argument("--host", default=host, help=f"address to listen on; 0.0.0.0 for everyone (default {host})")
    serving.add_argument("--port", type=int, default=port, help=f"port to listen on (default {port})")
    serving.add_argument("--share", action="store_true", help="also open a public link through gradio.live")
    serving.add_argument("--mcp", action="store_true", help="also offer the actions to agents as tools (MCP)")

    models = parser.add_argument_group("models")
    models.add_argument(
        "--tokenizer", metavar="DIR", help="artifact folder or Hub repository (default: the packaged one)"
    )
    models.add_argument(
        "--prior", metavar="DIR", action="append", default=[],
        help="folder of a model that writes pictures, a GPT or a PixelCNN as its config says, instead of the packaged "
        "one of its kind; may be given once for each kind",
    )  # fmt: skip

    running = parser.add_argument_group("where they run")
    running.add_argument("--threads", type=int, help="processor threads (default: the library's choice)")
    running.add_argument(
        "--device", choices=("cpu", "cuda"),
        help="cpu runs all on onnxruntime; cuda paints and samples by torch on an NVIDIA GPU (default: what the "
        "variable CST_DEVICE says; else cuda on a ZeroGPU Space, and cpu anywhere else)",
    )  # fmt: skip
    running.add_argument(
        "--target", default="auto", choices=TARGETS, help="where onnxruntime runs RenderNet (default auto)"
    )
    running.add_argument("--npu-config", metavar="FILE", help="VitisAI's config file, for --target npu")

    parser.add_argument(
        "--selfcheck", action="store_true",
        help="do not serve: check versions, processor and weights, and measure; exit code 2 if something is wrong",
    )  # fmt: skip
    return parser.parse_args(arguments)


def check_port(host: str, port: int) -> None:
    """Raise ValueError, before anything is loaded, if the port can't be listened on."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"can't listen on {host}:{port} ({reason}); give another --port or --host") from None


if __name__ == "__main__":
    run(main)
