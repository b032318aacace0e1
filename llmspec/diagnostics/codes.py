"""The codes of all diagnostics that are not rules of `llmspec.check`, each with its documentation page.

LS0xx reading and YAML syntax, LS1xx the schema, LS2xx presets, `extends` and overrides, LS5xx the output directory, the log in it and files
beside the spec, LS9xx bugs of ours. Rules (LS3xx, LS4xx) are documented by their docstrings in `llmspec.check.rules`, in the same sections.
"""

from collections.abc import Callable, Iterable
from textwrap import dedent
from typing import NamedTuple

from llmspec.diagnostics.diagnostic import Diagnostic, Fact, Severity, Span


class Code(NamedTuple):
    """A code, the name it reads as, and its page for `llmspec explain`."""

    code: str
    name: str
    page: Callable[[], str]
    since: str = "0.1"

    @property
    def text(self) -> str:
        """The page; made when somebody reads it, which most runs do not."""
        return self.page()


CODES: dict[str, Code] = {}


def problem(
    code: str,
    message: str,
    span: Span,
    *,
    label: str = "",
    facts: Iterable[Fact] = (),
    help: Iterable[str] = (),
    severity: Severity = Severity.ERROR,
) -> Diagnostic:
    """Make a diagnostic of a registered code."""
    return Diagnostic(code, CODES[code].name, severity, message, span, label, tuple(facts), tuple(help))


def _page(code: str, name: str, checks: str, matters: str, wrong: str, right: str, language: str = "yaml") -> None:
    """Register a page. `wrong` and `right` are the example and what to use instead."""

    def text() -> str:
        example, instead = (f"```{language}\n{dedent(part).strip(chr(10))}\n```" for part in (wrong, right))
        sections = f"## What it checks\n{checks}", f"## Why it matters\n{matters}", f"## Example\n{example}", f"Use instead:\n{instead}"
        return "\n\n".join(sections) + "\n"

    CODES[code] = Code(code, name, text)


# Reading -------------------------------------------------------------------------------------------------------------------------

_page(
    "LS001",
    "file-not-found",
    "The spec file, or the directory it should be in, exists.",
    "There is nothing to compile. The names of specs that lie near are offered.",
    "llmspec validate specs/quikstart.yaml",
    "llmspec validate specs/quickstart.yaml",
    "sh",
)
_page(
    "LS002",
    "not-a-file",
    "The path names a file, not a directory.",
    "A spec is one file; a directory may hold many.",
    "llmspec validate specs/",
    "llmspec validate specs/quickstart.yaml",
    "sh",
)
_page(
    "LS003",
    "unreadable-file",
    "The file can be opened and read by this user.",
    "Without its text nothing can be said about the spec.",
    "llmspec validate /root/spec.yaml   # as another user",
    "chmod u+r spec.yaml",
    "sh",
)
_page(
    "LS004",
    "file-too-large",
    "The file has at most 1 MB.",
    "A spec has a few kilobytes. A bigger file is something else, most often data given in place of the spec, and is not read.",
    "llmspec validate data/corpus.jsonl",
    "llmspec validate specs/quickstart.yaml",
    "sh",
)
_page(
    "LS005",
    "binary-file",
    "The file is text: it holds no NUL byte.",
    "A checkpoint, an archive or an image was most likely given in place of the spec.",
    "llmspec validate model.safetensors",
    "llmspec validate specs/quickstart.yaml",
    "sh",
)
_page(
    "LS006",
    "wrong-encoding",
    "The file is UTF-8.",
    "Text in another encoding would be read as other characters than those written, without anybody noticing.",
    "iconv -t UTF-16 spec.yaml > run.yaml && llmspec validate run.yaml",
    "iconv -f UTF-16 -t UTF-8 run.yaml > spec.yaml && llmspec validate spec.yaml",
    "sh",
)
_page(
    "LS007",
    "empty-file",
    "The file holds something besides comments.",
    "There is nothing to compile.",
    "# a run to be described later",
    """
    llmspec: 1
    name: my-run
    preset: gpt2
    """,
)
_page(
    "LS008",
    "control-character",
    "The text holds no control characters but tabs and line ends.",
    "They are invisible in most editors, and YAML does not allow them.",
    "name: my-run^G",
    "name: my-run",
)

# YAML ----------------------------------------------------------------------------------------------------------------------------

_page(
    "LS010",
    "invalid-yaml",
    "The text follows the syntax of YAML 1.2.",
    "What cannot be parsed cannot be read. The place shown is the first where the text stops making sense; the slip may be a line above.",
    """
    training:
      sequence_length: 1024
     global_batch_size: 32
    """,
    """
    training:
      sequence_length: 1024
      global_batch_size: 32
    """,
)
_page(
    "LS011",
    "tab-indentation",
    "Lines are indented with spaces.",
    "YAML does not allow tabs in indentation, since their width differs between editors.",
    "training:\n\tsequence_length: 1024",
    "training:\n  sequence_length: 1024",
)
_page(
    "LS012",
    "several-documents",
    "The file holds one YAML document.",
    "One spec describes one run; a second document would be ignored in silence.",
    """
    llmspec: 1
    ---
    llmspec: 1
    """,
    "llmspec: 1",
)
_page(
    "LS013",
    "duplicate-key",
    "No key is given twice in one section.",
    "Most YAML readers keep the last one without a word, so that a changed value has no effect.",
    """
    optimizer:
      learning_rate: 3e-4
      learning_rate: 1e-3
    """,
    """
    optimizer:
      learning_rate: 1e-3
    """,
)
_page(
    "LS014",
    "key-not-text",
    "Every key is a name.",
    "Names of fields are text; a number, a list or nothing at all as a key is a slip.",
    """
    training:
      1024: sequence_length
    """,
    """
    training:
      sequence_length: 1024
    """,
)
_page(
    "LS015",
    "unsupported-tag",
    "Values carry no YAML tags but the standard ones, and those fit.",
    "Tags make other readers construct objects, even run code. A spec is plain data.",
    "name: !!python/name:os.system",
    "name: my-run",
)
_page(
    "LS016",
    "too-many-values",
    "The text expands to no more than 50,000 values.",
    "A few lines of aliases to aliases expand to billions of values and would exhaust memory.",
    """
    a: &a [x, x, x, x, x, x, x, x, x]
    b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
    c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
    d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]
    e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]
    """,
    "a: [x, x]",
)
_page(
    "LS017",
    "nested-too-deep",
    "Values are nested at most 50 deep.",
    "No section of a spec is nested deeper than five; more is a slip or an attack on the reader.",
    "name: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    "name: my-run",
)
_page(
    "LS018",
    "unknown-alias",
    "Every alias `*name` refers to an anchor `&name` that stands before it and is complete.",
    "An alias to nothing has no value, and one inside its own value has an endless one.",
    """
    training:
      sequence_length: *context
    """,
    """
    training:
      sequence_length: 1024
    """,
)
_page(
    "LS019",
    "merge-key",
    "The merge key `<<` of YAML 1.1 is not used.",
    "YAML 1.2 does not have it. `extends` shares sections between specs, and keeps every value's place for messages.",
    """
    schedule:
      <<: *shared
      kind: wsd
    """,
    """
    extends: shared.yaml
    schedule:
      kind: wsd
    """,
)
_page(
    "LS020",
    "not-a-mapping",
    "The spec is a mapping of section names to sections.",
    "Every value of a run has a name; a list or a single value has none.",
    "- llmspec: 1",
    "llmspec: 1",
)

# Schema --------------------------------------------------------------------------------------------------------------------------

_page(
    "LS101",
    "unknown-field",
    "Every key is a field of its section.",
    "A misspelt key that is ignored leaves the default in place, and the run is not the one that was asked for.",
    """
    architecture:
      num_layrs: 12
    """,
    """
    architecture:
      num_layers: 12
    """,
)
_page(
    "LS102",
    "missing-field",
    "Fields without a default are given.",
    "Nobody but the author can say how wide a network or how long a run should be. A preset or `extends` can give them too.",
    """
    training:
      sequence_length: 1024
    """,
    """
    training:
      sequence_length: 1024
      global_batch_size: 32
      max_steps: 1000
    """,
)
_page(
    "LS103",
    "wrong-type",
    "Every value has the type of its field; nothing is converted in silence.",
    "A number in quotes, a list in place of one value or a fraction in place of a count is most often a slip.",
    """
    training:
      sequence_length: about 1000
    """,
    """
    training:
      sequence_length: 1024
    """,
)
_page(
    "LS104",
    "out-of-range",
    "Numbers, and lengths of texts and lists, lie within the bounds of their field.",
    "A network of no layers or a dropout of 1 cannot train; the upper bounds are far beyond anything trainable and catch slips.",
    """
    architecture:
      dropout: 10
    """,
    """
    architecture:
      dropout: 0.1
    """,
)
_page(
    "LS105",
    "unknown-choice",
    "A field with fixed choices has one of them.",
    "Each choice is a component of the emitted project; for another one there is nothing to emit.",
    """
    schedule:
      kind: cosin
    """,
    """
    schedule:
      kind: cosine
    """,
)
_page(
    "LS106",
    "missing-kind",
    "A section that comes in several kinds says which.",
    "Which other fields the section may have depends on its kind.",
    """
    tokenizer:
      vocab_size: 32k
    """,
    """
    tokenizer:
      kind: bpe
      vocab_size: 32k
    """,
)
_page(
    "LS107",
    "name-of-another-tool",
    "Fields carry the names of this language, not those of other trainers.",
    "One name for one thing keeps specs comparable. Those of Hugging Face, Megatron, nanoGPT, torchtitan and others are recognised.",
    """
    optimizer:
      lr: 3e-4
    """,
    """
    optimizer:
      learning_rate: 3e-4
    """,
)
_page(
    "LS108",
    "not-built-yet",
    "The spec asks only for what llmspec can build today.",
    "A field that nothing reads would promise what the emitted project does not do. Its place in the language is known already.",
    """
    parallelism:
      tensor: 2
    """,
    """
    parallelism:
      data: ddp
    """,
)
_page(
    "LS109",
    "not-finite",
    "Numbers are finite.",
    "Infinity and not-a-number poison every figure they meet. Where a limit is optional, leaving the field out means none.",
    """
    optimizer:
      learning_rate: .nan
    """,
    """
    optimizer:
      learning_rate: 3e-4
    """,
)
_page(
    "LS110",
    "unusable-text",
    "Texts hold characters that their field can use.",
    "A name becomes a directory and stands in scripts, so it has letters, digits, `.`, `_`, `-`. Control characters upset terminals.",
    'name: "my run!"',
    "name: my-run",
)
_page(
    "LS111",
    "unsupported-version",
    "`llmspec: 1` names a version of the language that this release knows.",
    "A spec written for another version may mean something else by the same fields.",
    "llmspec: 2",
    "llmspec: 1",
)

# Presets, extends, overrides -------------------------------------------------------------------------------------------------------

_page(
    "LS201",
    "unknown-preset",
    "`preset` names a published model of the catalog; `llmspec presets` lists them.",
    "A preset is where the fields that are not written come from.",
    "preset: gpt-3",
    "preset: gpt2",
)
_page(
    "LS202",
    "extends-not-found",
    "Every file under `extends` exists and can be read. Paths are relative to the file that names them.",
    "The fields that are not written come from there.",
    "extends: shred.yaml",
    "extends: shared.yaml",
)
_page(
    "LS203",
    "circular-extends",
    "No file extends itself, directly or through others.",
    "There would be no first layer to start from.",
    "extends: spec.yaml      # in spec.yaml itself",
    "extends: shared.yaml",
)
_page(
    "LS204",
    "malformed-override",
    "`--set` has the form `path=value`, with a dotted path and a YAML value.",
    "Otherwise it is not clear which field gets which value.",
    "llmspec validate spec.yaml --set training.max_steps",
    "llmspec validate spec.yaml --set training.max_steps=100",
    "sh",
)
_page(
    "LS205",
    "override-without-place",
    "The path of `--set` leads to a place in the spec: list indexes exist, and sections stand where the path goes on.",
    "An index beyond the list would need values for all that lie between.",
    "llmspec validate spec.yaml --set 'data.sources[7].weight=2'",
    "llmspec validate spec.yaml --set 'data.sources[0].weight=2'",
    "sh",
)
_page(
    "LS206",
    "extends-too-long",
    "A chain of `extends` has at most 20 files.",
    "Nobody can follow a longer one to the place where a value was set.",
    "extends: step-20.yaml   # which extends step-19.yaml, and so on",
    "extends: shared.yaml",
)

# Output directory ------------------------------------------------------------------------------------------------------------------

_page(
    "LS501",
    "output-is-a-file",
    "The output directory is a directory, or does not exist yet.",
    "A project cannot be written into a file, and the file is not touched.",
    "llmspec build spec.yaml -o README.md",
    "llmspec build spec.yaml -o generated/my-run",
    "sh",
)
_page(
    "LS502",
    "output-not-writable",
    "This user may write to the output directory.",
    "Nothing is written unless all of it can be.",
    "llmspec build spec.yaml -o /usr/share/my-run",
    "llmspec build spec.yaml -o generated/my-run",
    "sh",
)
_page(
    "LS503",
    "output-not-ours",
    "The output directory is empty, or holds a project that llmspec built before.",
    "Files of other origin could be overwritten or mixed with the project's.",
    "llmspec build spec.yaml -o ~",
    "llmspec build spec.yaml -o generated/my-run",
    "sh",
)
_page(
    "LS504",
    "merge-conflict",
    "Edits of yours and changes of a rebuild touch different lines.",
    "Where both changed the same lines, both versions stand in the file between conflict markers, and a person has to choose.",
    "llmspec build spec.yaml   # after the same line changed in the file and in the spec",
    "edit the file between <<<<<<< and >>>>>>>, then build again",
    "text",
)
_page(
    "LS505",
    "build-record-damaged",
    "The record of the last build (`.llmspec/` in the output directory) can be read.",
    "Without it your edits cannot be told from what llmspec wrote, so nothing is overwritten.",
    "rm generated/my-run/.llmspec/lock.json && llmspec build spec.yaml",
    "llmspec build spec.yaml -o generated/my-run-2",
    "sh",
)
_page(
    "LS506",
    "file-in-the-way",
    "Nothing of yours stands where a newly rendered file goes. A file with just the rendered content may stay.",
    "There is no earlier render of it to merge with, and llmspec does not overwrite what it did not write.",
    "llmspec build spec.yaml   # after you wrote an export.py, and the spec now asks for one",
    "mv generated/my-run/export.py generated/my-run/my_export.py && llmspec build spec.yaml",
    "sh",
)
_page(
    "LS507",
    "unresolved-conflict",
    "No edited file has a line that starts with `<<<<<<<` or `>>>>>>>` and a space.",
    "A second merge on top of an unresolved one would mix three versions.",
    "llmspec build spec.yaml   # right after a build that reported LS504",
    "keep the lines that you want, delete the markers, then build again",
    "text",
)
_page(
    "LS508",
    "link-in-the-way",
    "Neither a file that changes nor a directory above it, within the project, is a symbolic link.",
    "The link may lead out of the project. Links at `data` and `run` are fine: a build does not write there.",
    "ln -s ../shared-tests generated/my-run/tests && llmspec build spec.yaml",
    "cp -R ../shared-tests generated/my-run/tests && llmspec build spec.yaml",
    "sh",
)
_page(
    "LS509",
    "interrupted-build",
    "The last build was not cut off while it moved its files into place.",
    "Some files may be old and some new. All the new ones are on the disk, and the next build moves the rest.",
    "llmspec build spec.yaml --check   # after a power cut during a build",
    "llmspec build spec.yaml",
    "sh",
)
_page(
    "LS510",
    "project-from-newer-llmspec",
    "The record of the last build has a format that this llmspec knows.",
    "Without the record your edits cannot be told from what llmspec wrote.",
    "llmspec build spec.yaml   # after somebody built the project with a later release",
    "pip install --upgrade llmspec-compiler && llmspec build spec.yaml",
    "sh",
)
_page(
    "LS511",
    "edited-after-interruption",
    "Each file that an interrupted build still has to replace is as that build found it.",
    "The edit was not part of the merge. Your version is kept beside the new one.",
    "llmspec build spec.yaml   # after a power cut during a build and an edit of train.py",
    "carry the edit over from train.py.yours, and delete that file",
    "text",
)
_page(
    "LS512",
    "changed-during-build",
    "Each file that is about to be replaced still has the content that was merged.",
    "Replacing it would lose the change that was just saved.",
    "llmspec build spec.yaml   # while an editor saves train.py",
    "llmspec build spec.yaml   # once more",
    "sh",
)

# The log of a run ------------------------------------------------------------------------------------------------------------------

_page(
    "LS520",
    "no-project",
    "The directory is a project that llmspec built: it holds a spec.yaml.",
    "The estimate is made anew from that file, so that a project can be compared wherever it was copied to.",
    "llmspec compare generated/my-run/run",
    "llmspec compare generated/my-run",
    "sh",
)
_page(
    "LS521",
    "no-metrics",
    "The run has written at least one whole line to metrics.jsonl.",
    "Before the first step there is nothing to hold the estimate against.",
    "llmspec compare generated/my-run --output-dir runs/never-started",
    "cd generated/my-run && python train.py && llmspec compare .",
    "sh",
)
_page(
    "LS522",
    "metrics-line-damaged",
    "Every line of metrics.jsonl is one JSON object with a step.",
    "A run that was killed may leave its last line cut off. The line is left out; the rest is compared.",
    'printf \'{"step": 10, "lo\' >> run/metrics.jsonl && llmspec compare .',
    "python train.py --resume && llmspec compare .",
    "sh",
)
_page(
    "LS523",
    "page-not-writable",
    "The page that `--html` names can be written.",
    "What was asked for as a file should not end as nothing.",
    "llmspec compare . --html /proc/page.html",
    "llmspec compare . --html page.html",
    "sh",
)
_page(
    "LS524",
    "what-if-without-values",
    "Each `--what-if` names a field and the values to try, with commas between them.",
    "A table of variations has a row for each combination of values, so each field needs some.",
    "llmspec estimate specs/quickstart.yaml --what-if training.micro_batch_size",
    "llmspec estimate specs/quickstart.yaml --what-if training.micro_batch_size=1,2,4",
    "sh",
)
_page(
    "LS525",
    "too-many-variations",
    "All `--what-if` together make a table of at most 400 rows.",
    "Every combination is estimated, and a table of thousands is read by nobody.",
    "llmspec estimate specs/quickstart.yaml --what-if hardware.nodes=1,2,4,8 --what-if training.sequence_length=...",
    "llmspec estimate specs/quickstart.yaml --what-if hardware.nodes=1,2,4,8",
    "sh",
)
_page(
    "LS530",
    "too-narrow-for-a-ladder",
    "The spec of a ladder is wide enough that narrower models with the same aspect remain sensible: at least 128.",
    "A ladder predicts a large run from small ones. Models a few dozen numbers wide follow no law that holds for large ones.",
    "llmspec ladder tiny.yaml --set architecture.hidden_size=64",
    "llmspec ladder large.yaml",
    "sh",
)
_page(
    "LS531",
    "run-not-usable",
    "Each run that is given to `llmspec fit` is finished: its log has the last step and a loss.",
    "The loss in the middle of a schedule lies above what as many tokens would reach, so that a fit to it would promise too little.",
    "llmspec fit ladder/small ladder/interrupted ladder/large",
    "ladder/run.sh && llmspec fit ladder/*/",
    "sh",
)
_page(
    "LS532",
    "too-few-runs",
    "There are at least three finished runs, of different sizes or numbers of tokens.",
    "The law has five coefficients. Published exponents help where runs are few, but below three there is nothing to fit.",
    "llmspec fit ladder/small",
    "llmspec fit ladder/*/",
    "sh",
)
_page(
    "LS533",
    "loss-fit-not-usable",
    "The file after `--loss-fit` is one that `llmspec fit` wrote.",
    "A fit from an edited or cut-off file would predict nonsense without a sign of it.",
    "llmspec estimate large.yaml --loss-fit notes.json",
    "llmspec fit ladder/*/ -o mine.json && llmspec estimate large.yaml --loss-fit mine.json",
    "sh",
)
_page(
    "LS534",
    "ladder-not-writable",
    "The place after `-o` can be written.",
    "The specs of a ladder, or the fit, would be lost.",
    "llmspec ladder large.yaml -o /proc/ladder",
    "llmspec ladder large.yaml -o ladder",
    "sh",
)
_page(
    "LS540",
    "unknown-accelerator-to-search",
    "Every name after `--accelerators` is an identifier of the catalog, or `all`.",
    "Speed, memory and price come from there.",
    "llmspec search spec.yaml --accelerators h100,a100",
    "llmspec search spec.yaml --accelerators h100-sxm,a100-80-sxm",
    "sh",
)
_page(
    "LS541",
    "no-quote-of-provider",
    "The catalog has a quote of each provider after `--provider` for one of the accelerators that are searched.",
    "Without a quote nothing can be said of what the run costs there.",
    "llmspec search spec.yaml --provider cloudy --budget 10000",
    "llmspec search spec.yaml --provider lambda --budget 10000",
    "sh",
)
_page(
    "LS542",
    "no-layout-fits",
    "At least one layout of the model fits on the devices that are searched.",
    "There is nothing to offer. The message counts what is to blame.",
    "llmspec search llama-405b.yaml --nodes 1",
    "llmspec search llama-405b.yaml --nodes 64,128",
    "sh",
)
_page(
    "LS543",
    "goal-out-of-reach",
    "Where `--apply` is given, the goal (`--budget`, `--deadline`, `--loss`) is reached by some layout.",
    "Writing a layout that misses the goal into the spec would look as if it met it.",
    "llmspec search spec.yaml --deadline 1h --apply",
    "llmspec search spec.yaml --deadline 14d --apply",
    "sh",
)
_page(
    "LS544",
    "no-price-to-search-by",
    "Where a goal is in money, one of the accelerators has a price.",
    "A budget cannot be held against runs of unknown cost.",
    "llmspec search spec.yaml --budget 10000   # on an accelerator that nobody rents out",
    "llmspec search spec.yaml --budget 10000 --set hardware.price=2.5",
    "sh",
)
_page(
    "LS545",
    "spec-not-editable",
    "The changes can be written into the spec's own file such that it then means just what was found.",
    "A file that uses anchors, or is written otherwise than llmspec can edit, is left as it is.",
    "llmspec search spec.yaml --apply   # where `parallelism: *shared` stands in the file",
    "write the fields out under `parallelism:`, then search again",
    "sh",
)
_page(
    "LS546",
    "spec-not-writable",
    "The spec's file can be written, where `--apply` is given.",
    "What was found would be lost.",
    "chmod a-w spec.yaml && llmspec search spec.yaml --apply",
    "chmod u+w spec.yaml && llmspec search spec.yaml --apply",
    "sh",
)
_page(
    "LS547",
    "search-on-a-processor",
    "The spec's accelerator is no processor.",
    "The formulae that a search runs on columns are those of accelerators.",
    "llmspec search quickstart.yaml",
    "llmspec search quickstart.yaml --set hardware.accelerator=h100-sxm",
    "sh",
)
_page(
    "LS548",
    "loss-never-reached",
    "Some number of tokens reaches the loss after `--loss`.",
    "Every law has a lowest loss for a size of the model, and one for all sizes.",
    "llmspec search spec.yaml --loss 0.5",
    "llmspec search spec.yaml --loss 2.1 --vary-size",
    "sh",
)
_page(
    "LS551",
    "old-prices",
    "The quotes that an estimate of money rests on are at most a year old on the day of the estimate.",
    "Prices of accelerators move by half in a year, in both directions. The figures of the estimate are the same on every day; only this "
    "warning looks at the calendar, or at SOURCE_DATE_EPOCH where that is set.",
    "llmspec estimate spec.yaml",
    "llmspec estimate spec.yaml --price 2.35",
    "sh",
)
_page(
    "LS552",
    "bad-price-file",
    "The file of `hardware.prices` or `--prices` can be read, names accelerators of the catalog, and its quotes have the catalog's "
    "columns: `provider` and `on_demand` or `spot` (US dollars for one accelerator for one hour; for spot one price, or the lowest and "
    "the highest), and where wanted `instance`, `accelerators` (in the instance), `region`, `other_regions`, `reserved`, `date`, "
    "`verified`, `source`, `note`.",
    "A column that is misspelt would be left out without a word, and the estimate would rest on another price.",
    """
    h100-sxm:
      quotes:
      - {provider: our-cloud, price: 2.10}
    """,
    """
    h100-sxm:
      quotes:
      - {provider: our-cloud, on_demand: 2.10, date: '2026-11-02'}
    """,
)
_page(
    "LS553",
    "accelerator-not-in-price-file",
    "The file of `hardware.prices` or `--prices` has quotes for the accelerator of the spec.",
    "The estimate then rests on the catalog's quotes, which may not be what was meant.",
    """
    hardware: {accelerator: h200-sxm, prices: prices.yaml}   # which has h100-sxm alone
    """,
    """
    hardware: {accelerator: h100-sxm, prices: prices.yaml}
    """,
)
_page(
    "LS554",
    "bad-grid-data",
    "The file of `--grid-data` is CSV in UTF-8 with a column of times (ISO 8601; UTC where no offset is given) and one of carbon "
    "intensities. Exports of Electricity Maps (`Datetime (UTC)`, `Carbon intensity gCO₂eq/kWh (Life cycle)`) and WattTime (`point_time`, "
    "`value` or `MOER`, in pounds a MWh) are read as they are, and so is a file with `time` and `g/kWh`.",
    "The best start is read off these figures hour by hour; a column that was guessed wrong would name some other hour.",
    """
    when,carbon
    31/01/2026 14:00,212
    """,
    """
    time,g/kWh
    2026-01-31T14:00Z,212
    """,
    "text",
)
_page(
    "LS555",
    "gaps-in-grid-data",
    "The file of `--grid-data` has every hour between its first and its last. Gaps of up to six hours, five percent of all hours at most, "
    "are filled with a straight line, and said so; more is an error.",
    "A window with hours that nobody knows cannot be told from a good one.",
    """
    time,g/kWh
    2026-01-31T00:00Z,212
    2026-02-01T00:00Z,198
    """,
    """
    time,g/kWh
    2026-01-31T00:00Z,212
    2026-01-31T01:00Z,207
    """,
    "text",
)
_page(
    "LS556",
    "grid-data-too-short",
    "The file of `--grid-data` has at least as many hours as the run takes.",
    "There is then no start of which the whole run would be known.",
    "llmspec estimate specs/llama-3.1-8b.yaml --grid-data tomorrow.csv   # eight days against one",
    "llmspec estimate specs/llama-3.1-8b.yaml --grid-data year.csv",
    "sh",
)

# Calibration -----------------------------------------------------------------------------------------------------------------------

_page(
    "LS560",
    "log-without-project",
    "What is given to `--calibrate` is a project, or a log inside one: spec.yaml stands in a directory above it.",
    "A speed says nothing without the model, the layout and the devices that it was reached with.",
    "llmspec estimate --calibrate /tmp/metrics.jsonl",
    "llmspec estimate --calibrate generated/my-run/run/metrics.jsonl",
    "sh",
)
_page(
    "LS561",
    "too-few-steps-to-learn-from",
    "Without the first ten steps a log has at least three more lines, and ten steps between them.",
    "The first steps compile, allocate and fill caches; a profile that learned from them would say that every run is slow.",
    "python train.py --max-steps 12 && llmspec estimate --calibrate .",
    "python train.py --max-steps 60 && llmspec estimate --calibrate .",
    "sh",
)
_page(
    "LS562",
    "log-of-another-run",
    "The log has as many tokens a step as the project's spec says, and was written on the kind of device that the spec names.",
    "The measurement would be held against the estimate of something else.",
    "llmspec estimate --calibrate .   # after training.global_batch_size was changed in spec.yaml, or with --device cpu",
    "python train.py --output-dir run-2 && llmspec estimate --calibrate run-2/metrics.jsonl",
    "sh",
)
_page(
    "LS563",
    "profile-not-found",
    "The profile after `--profile` is there: llmspec-profiles/NAME.yaml beside the spec or in this directory, or a path.",
    "An estimate that was meant to be calibrated should not silently be none.",
    "llmspec estimate my-run.yaml --profile our-h10",
    "llmspec estimate my-run.yaml --profile our-h100",
    "sh",
)
_page(
    "LS564",
    "profile-damaged",
    "The profile is as `--calibrate` wrote it: every field is there and has a sensible value, and each run's check fits its values.",
    "A profile that was edited by hand would say that its figures were measured when they were not.",
    "step: {measured: 0.02, estimated: 0.35, ...}   # made faster with an editor",
    "llmspec estimate --calibrate generated/my-run --profile cluster   # learned again",
)
_page(
    "LS565",
    "profile-of-another-accelerator",
    "A profile is of one kind of accelerator, and is used for that kind.",
    "How far a cluster of one kind is off its estimate says nothing about another kind.",
    "llmspec estimate my-run.yaml --profile our-h100 --set hardware.accelerator=b200",
    "llmspec estimate my-run.yaml --profile our-b200 --set hardware.accelerator=b200",
    "sh",
)
_page(
    "LS566",
    "profile-of-another-version",
    "The profile was made with the constants that this version of the estimator has.",
    "A profile corrects what an estimate misses. After the estimate itself was corrected, both together would be too much.",
    "llmspec estimate my-run.yaml --profile cluster   # after an upgrade of llmspec",
    "llmspec estimate --calibrate generated/my-run --profile cluster && llmspec estimate my-run.yaml --profile cluster",
    "sh",
)
_page(
    "LS567",
    "profile-not-writable",
    "The profile can be written, under a name of letters, digits, dots, dashes and underscores; no other file stands in its place.",
    "What was learned would be lost, or somebody's file.",
    "llmspec estimate --calibrate generated/my-run --profile README.yaml/",
    "llmspec estimate --calibrate generated/my-run --profile our-h100",
    "sh",
)
_page(
    "LS568",
    "measurement-far-from-estimate",
    "A step took between a fifth of its estimate and five times as long.",
    "Cluster and software explain less than that. Another process on the devices or a wrong accelerator in the spec do.",
    "hardware: {accelerator: h100-sxm}   # where the run was on a partition of an A100",
    "hardware: {accelerator: a100-80-sxm}",
)

# Bugs of ours ----------------------------------------------------------------------------------------------------------------------

_page(
    "LS900",
    "internal-error",
    "llmspec itself did what it should.",
    "This is a bug of ours, not of the spec. Nothing was written. The report that is asked for helps to mend it.",
    "llmspec build spec.yaml",
    "llmspec build spec.yaml   # with a version in which it is mended",
    "sh",
)
_page(
    "LS902",
    "broken-emission",
    "Every emitted file passes the formatter and its language's own parser before anything is written.",
    "A broken file is a bug of ours, not of the spec. Nothing was written.",
    "llmspec build spec.yaml",
    "llmspec build spec.yaml   # with a version in which it is mended",
    "sh",
)
