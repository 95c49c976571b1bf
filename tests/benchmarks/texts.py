"""Prompts of the benchmark, in SmolLM2's chat format."""

from __future__ import annotations

PASSAGE = """The conveyor at cell two moves housings from the press to the washing station. Each housing carries a data
matrix code on its left flange. Before washing, a camera reads the code and looks for cracks near the two bolt
holes. A housing with a crack leaves the line over the reject chute, and its number is written to the shift log.
After washing, a second camera checks that no burr is left on the sealing surface. When three housings in a row
are rejected, the line stops and the lamp over the press turns red. The line leader then looks at the press tool
and confirms at the panel that production may go on. Spare tools are kept in cabinet four, and their number of
strokes is counted by the controller. A tool is ground after forty thousand strokes, or earlier if burrs are
found twice within one hour. The washing fluid is changed every Monday, and its temperature is held at fifty-
five degrees.""".replace("\n", " ")
DEFAULT_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
"""What SmolLM2's own chat template begins with."""
QUESTIONS = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "List three colours of the rainbow.",
    "Explain in one sentence why the sky is blue.",
    "What is a ball screw used for?",
    "Name two planets that have rings.",
    "Give me a short definition of corrosion.",
    "How many minutes are in two hours?",
    "Translate 'good morning' into German.",
    "What does a thermometer measure?",
)
SCHEMA = {
    "type": "object",
    "properties": {
        "station_name": {"type": "string", "maxLength": 24},
        "verdict": {"enum": ["pass", "fail", "unsure"]},
        "inspected_surface": {"enum": ["sealing surface", "left flange", "bolt holes"]},
        "number_of_defects": {"type": "integer", "minimum": 0, "maximum": 9},
        "line_must_be_stopped": {"type": "boolean"},
        "recommended_next_step": {"enum": ["continue production", "call the line leader", "grind the tool"]},
    },
    "required": [
        "station_name",
        "verdict",
        "inspected_surface",
        "number_of_defects",
        "line_must_be_stopped",
        "recommended_next_step",
    ],
    "additionalProperties": False,
}


def chat(user: str, system: str = "") -> str:
    head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    return f"{head}<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"


QUOTE = chat(f"Repeat the following text word for word, and nothing else:\n\n{PASSAGE}")
REPORT = chat(f"{PASSAGE}\nReport in JSON what the second camera found: two burrs on the sealing surface.")
INSTRUCTION = f"You inspect parts. {PASSAGE} {PASSAGE} Answer with one word: pass, fail or unsure."
VERDICTS = tuple(
    chat(f"Part {number}: {finding}. Your verdict?", INSTRUCTION)
    for number, finding in enumerate(("a crack beside the left bolt hole", "no finding"))
)
