"""The report of one training job: a self-contained HTML page, and the PNGs of its plots.

Called by the job at its end, also at a crash, and by `trainer.analysis` for a job that has finished. What it
says is `trainer.report_head`'s and `trainer.report_sections`'s, how it looks is report.html's.
"""

import base64
from datetime import UTC, datetime
from pathlib import Path


def write_report(folder: Path, tensors: Path | None) -> Path:
    """Write `report/report.html` and its PNGs into a job's output folder, and return the page.

    `tensors` is the job's smdebug trial, or a folder of one for each member. What is missing or damaged is
    named in the page. Raises `OSError` where nothing can be written; a page of before stays whole then.
    """
    # A job imports this module at its start, and matplotlib takes a second.
    import jinja2  # noqa: PLC0415

    from trainer.report_head import read_head  # noqa: PLC0415
    from trainer.report_sections import Picture, read_sections  # noqa: PLC0415
    from trainer.report_words import shown  # noqa: PLC0415

    sections = list(read_sections(folder, tensors))
    pictures = [part for section in sections for part in section.parts if isinstance(part, Picture)]
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (Path(__file__).parent / "report.html").read_text(encoding="utf-8")
    )
    text = template.render(
        head=read_head(folder),
        sections=sections,
        encoded=lambda png: base64.b64encode(png).decode(),
        shown=shown,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    return _write(folder / "report", text, {f"{each.name}.png": each.png for each in pictures})


def _write(folder: Path, text: str, pictures: dict[str, bytes]) -> Path:
    """Write the pictures, then the page in one move; pictures of an earlier report go."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        if old.name not in pictures:
            old.unlink()
    for name, png in pictures.items():
        (folder / name).write_bytes(png)
    page, partial = folder / "report.html", folder / "report.html.partial"
    try:
        # A name from a file may hold half a character, which UTF-8 cannot say.
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        partial.replace(page)
    finally:
        partial.unlink(missing_ok=True)
    return page
