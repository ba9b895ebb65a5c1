"""`ml-prediction models`: what can be loaded, where it comes from, and whether it is intact."""

from __future__ import annotations

from rich.console import Console

from ml_prediction.models import ModelInfo, list_models, verify_bundled

_HEADINGS = {
    "bundled": "Bundled: in the package, no network needed",
    "cached": "Cached by SeisBench on this machine",
    "known": "Known: weights by name from SeisBench's server, when first used",
}


def show_models(out: Console) -> int:
    """Print every model with its provenance; returns the exit status."""
    models = list_models()
    for status, heading in _HEADINGS.items():
        chosen = [model for model in models if model.status == status]
        if not chosen:
            continue
        out.print(f"[bold]{heading}[/bold]")
        for model in chosen:
            if status == "known":
                out.print(f"  {_known(model)}", markup=False)
            else:
                _show(model, out)
    return 0


def verify_models(out: Console) -> int:
    """Check the bundled weights; returns the exit status."""
    result = verify_bundled()
    out.print(str(result), markup=False)
    return 0 if result.ok else 1


def _known(model: ModelInfo) -> str:
    """One line: there is no file yet that has a licence or a hash."""
    said = (model.origin, model.licence, " ".join(model.citation.split()))
    return f"{model.name}: {'; '.join(text for text in said if text)}"


def _show(model: ModelInfo, out: Console) -> None:
    version = f" (version {model.version})" if model.version else ""
    out.print(f"  {model.name}  {model.weights}{version}", markup=False)
    for label, text in (
        ("origin", model.origin),
        ("licence", model.licence),
        ("citation", " ".join(model.citation.split())),
        ("sha256", model.sha256),
    ):
        if text:
            out.print(f"      {label}: {text}", markup=False)
