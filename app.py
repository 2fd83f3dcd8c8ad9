"""The page on which a photo is taken apart into color, shape and texture and painted back, and new ones are written.

python app.py
"""

import argparse
import os
import socket

from cst.command import run
from cst.runtime import TARGETS


def main(arguments: list[str] | None = None) -> None:
    flags = parse(arguments)
    check_port(flags.host, flags.port)
    from space.models import Models

    priors = {kind: folder for kind in ("gpt", "pixelcnn") if (folder := getattr(flags, kind)) is not None}
    models = Models(
        flags.tokenizer, priors=priors, target=flags.target, threads=flags.threads, npu_config=flags.npu_config
    )
    from space.page import build, serve  # Gradio takes two seconds to import: mistakes above are answered before

    serve(build(models), host=flags.host, port=flags.port, share=flags.share)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python app.py", description=__doc__.splitlines()[0])
    # A Hugging Face Space says where to listen in these two variables.
    host, port = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), os.environ.get("GRADIO_SERVER_PORT", "7860")
    parser.add_argument("--host", default=host, help=f"address to listen on; 0.0.0.0 for everyone (default {host})")
    parser.add_argument("--port", type=int, default=port, help=f"port to listen on (default {port})")
    parser.add_argument("--share", action="store_true", help="also open a public link through gradio.live")
    parser.add_argument(
        "--tokenizer", metavar="DIR", help="artifact folder or Hub repository (default: the packaged one)"
    )
    parser.add_argument("--gpt", metavar="DIR", help="folder of the GPT that writes new pictures (default: packaged)")
    parser.add_argument("--pixelcnn", metavar="DIR", help="folder of the PixelCNN (default: packaged)")
    parser.add_argument("--target", default="auto", choices=TARGETS, help="where RenderNet runs (default auto)")
    parser.add_argument("--threads", type=int, help="processor threads (default: the library's choice)")
    parser.add_argument("--npu-config", metavar="FILE", help="VitisAI's config file, for --target npu")
    return parser.parse_args(arguments)


def check_port(host: str, port: int) -> None:
    """Raise ValueError, before anything is loaded, if the port can't be listened on."""
    try:
        with socket.create_server((host, port)):
            return
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"can't listen on {host}:{port} ({reason}); give another --port or --host") from None


if __name__ == "__main__":
    run(main)
