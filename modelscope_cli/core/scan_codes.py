"""What a scan can find: for each code how grave it is by itself, its title, what it means, and what to do.

The rows serve the verdict, SARIF (a rule each) and the table of docs/scan.md. What stands behind a finding, such as a pickle in a
hidden member, is judged besides.
"""

from __future__ import annotations

from typing import NamedTuple

SAFE, UNKNOWN, SUSPICIOUS, DANGEROUS = "safe", "unknown", "suspicious", "dangerous"
LEVELS = (SAFE, UNKNOWN, SUSPICIOUS, DANGEROUS)


class ScanCode(NamedTuple):
    """`meaning` and `advice` are sentences."""

    level: str
    title: str
    meaning: str
    advice: str


_LEAVE = "Do not load the file. Ask whoever published it, or take the weights as safetensors."
_AGAIN = "Download the file again and compare its checksum with the publisher's; if it is the same, ask the publisher."
_LOOK = "Look at the names: load with torch.load(weights_only=True), or judge them in a policy file."

SCAN_CODES = {
    "dangerous-import": ScanCode(
        DANGEROUS,
        "Loading can run anything",
        "The pickle imports or calls something that starts programs, runs code, opens connections or reaches for any of these.",
        _LEAVE,
    ),
    "patch": ScanCode(
        DANGEROUS,
        "Loading changes a class, function or module",
        "The pickle sets attributes of an imported object itself, so that programs which use it later do what the file says.",
        _LEAVE,
    ),
    "forged-dtype": ScanCode(
        DANGEROUS,
        "An element type that makes pointers of bytes",
        "The state of a numpy.dtype hides objects or lays fields outside of its elements, so that loading follows addresses of the "
        "file's choice. numpy writes no such states.",
        _LEAVE,
    ),
    "forged-pickle": ScanCode(
        DANGEROUS,
        "A pickle that no program writes",
        "The pickle is put together so that attributes are reached, or functions called, without being named: arguments or states that "
        "other calls return, containers made by going through objects, objects that change their class. By such steps harmless names "
        "lead to any function.",
        _LEAVE,
    ),
    "template-gadget": ScanCode(
        DANGEROUS,
        "A chat template that leaves its sandbox",
        "The template reaches for special attributes or for modules. Programs that render it without a sandbox run what it names.",
        "Do not chat with this model through a program that takes the template from the file; give it a template of your own.",
    ),
    "keras-lambda": ScanCode(
        DANGEROUS,
        "A Lambda layer",
        "The layer is made of marshalled Python code, which Keras runs when it loads the model with safe_mode=False.",
        "Load with safe_mode=True, or take a model without Lambda layers.",
    ),
    "keras-import": ScanCode(
        DANGEROUS,
        "A Keras configuration that asks for functions which do harm",
        "It names a module and a function that start programs, load code, touch files, download or unpickle, of Python, of Keras itself, of "
        "TensorFlow or of another library. Keras before 3.9 imports and calls whatever is named, later ones still look up their own. "
        "Layers of Keras 2 call functions of TensorFlow while the model is built.",
        _LEAVE,
    ),
    "keras-odd-import": ScanCode(
        SUSPICIOUS,
        "A Keras configuration that asks for what is no part of a model",
        "It names a function that changes settings, or one of a library that can be misused, such as one of TensorFlow that reads files. "
        "Keras before 3.9 imports and calls whatever is named.",
        _LEAVE,
    ),
    "keras-operation": ScanCode(
        SUSPICIOUS,
        "A Keras layer that reads files",
        "The configuration has a layer read its words from a path or an address.",
        _LEAVE,
    ),
    "export-code": ScanCode(
        DANGEROUS,
        "A text that becomes code",
        "torch.export.load evaluates the shapes of a program as Python, writes its names and guards into Python source that it runs, and "
        "looks up what its inputs and outputs name, as transformers does for an exported model. This text is more than mathematics, a "
        "name or a class.",
        _LEAVE,
    ),
    "evaluated-text": ScanCode(
        SUSPICIOUS,
        "A text that is Python and reaches for something",
        "A value in the file would start programs, import modules or run code if a program evaluated it, and some do: ultralytics and YOLOv5 "
        "names and layers, fairseq and WavLM conv_feature_layers, mmengine the configuration in a checkpoint, MONAI what begins with $, "
        "unsloth a model_type. No weights need it.",
        _LEAVE,
    ),
    "native-code": ScanCode(
        DANGEROUS,
        "Compiled code that loading runs",
        "torch loads the libraries in such an archive, or compiles its C++ first. What compiled code does cannot be told by reading.",
        "Load it only if you trust whoever published it as you would a program, or compile the model yourself.",
    ),
    "native-code-inside": ScanCode(
        SUSPICIOUS,
        "Compiled code beside a model",
        "The archive holds a program or a library, or a configuration names one to be imported. No weights need it, and what it does "
        "cannot be told by reading.",
        "Ask the publisher what it is for, and do not run it.",
    ),
    "dangerous-operator": ScanCode(
        DANGEROUS,
        "An operator that can do harm",
        "A model's graph is a program of operators, and this one writes files, opens connections or runs Python. It runs when the model "
        "runs, and in a SavedModel while it is loaded, too.",
        "Do not load the file. Ask whoever published it for a model without this operator.",
    ),
    "suspicious-operator": ScanCode(
        SUSPICIOUS,
        "An operator that reaches out of the model",
        "It reads files, lists folders, writes logs, or calls what the program registered. Few honest models need it.",
        "Ask the publisher what it is for. If you know, allow it in a policy file, as tensorflow.ReadFile.",
    ),
    "odd-pickle": ScanCode(
        SUSPICIOUS,
        "A call that no pickler writes",
        "All the names are harmless, but they are used in a way in which no program saves a file: a layer made by running its __init__, "
        "entries put into an object that has none, a function given an object whose methods it then calls.",
        _LEAVE,
    ),
    "external-address": ScanCode(
        DANGEROUS,
        "Tensor data at an address in memory",
        "The data of an ONNX tensor should lie where ONNX Runtime keeps its own: a loader that believes it reads memory at an address of "
        "the file's choice.",
        "Do not load the file. Ask whoever published it, or take the weights as safetensors.",
    ),
    "external-path": ScanCode(
        SUSPICIOUS,
        "Data outside of the model's folder",
        "The model names a file by an absolute path, by one that leads out of its folder, or by an address. A loader that follows it reads "
        "a file of your machine into the model, and saving the model can write there.",
        _LEAVE,
    ),
    "external-range": ScanCode(
        SUSPICIOUS,
        "A place in a file that is none",
        "The offset or the length of a tensor's data is no number, negative, or beyond any file. Loaders that do not check it read "
        "memory that is not theirs.",
        _AGAIN,
    ),
    "export-target": ScanCode(
        SUSPICIOUS,
        "A program that calls what no graph needs",
        "torch.export.load looks up the name, and running the program calls it: it is no operator.",
        _LEAVE,
    ),
    "template-reach": ScanCode(
        SUSPICIOUS,
        "A chat template that reaches into the template engine",
        "It takes something of Jinja's own objects, such as cycler, or calls what it took by an index. No chat template needs that, and "
        "it is how templates leave an engine without a sandbox.",
        "Do not chat with this model through a program that takes the template from the file; give it a template of your own.",
    ),
    "script-getattr": ScanCode(
        SUSPICIOUS,
        "TorchScript that looks names up by text",
        "Its code calls getattr with a text that could have been written as an attribute. torch's compiler writes that only for names "
        'that are no identifiers, such as "0"; so a search for operators that touch files is misled.',
        _LEAVE,
    ),
    "dangerous-target": ScanCode(
        DANGEROUS,
        "A configuration that has anything called",
        "It names a function that starts programs, runs code or touches files. hydra calls what stands behind _target_, programs of "
        "latent diffusion what stands behind target: beside params:, yaml.load what stands behind a tag !!python/…, HyperPyYAML what stands "
        "behind !new: or !apply:, TorchServe the handler of a manifest. Keys of their own have torchtune (_component_), LeRobot (class of steps), "
        "GluonTS before 0.17 (class beside __kind__), fiddle and so NeMo 2 (pyref), DeepPavlov (class_name with a colon), OpenMMLab (type) and "
        "skops, which asks first (__class__ beside __loader__).",
        "Do not load the file with a program that builds objects from its configuration.",
    ),
    "suspicious-target": ScanCode(
        SUSPICIOUS,
        "A configuration that has Python's own functions called",
        "It names a function of the standard library, or one that can be misused, for hydra (_target_), programs of latent diffusion "
        "(target: beside params:), yaml.load (!!python/…), TorchServe (a handler) or another program to call (see dangerous-target).",
        "Ask the publisher what it is for. If it is yours, judge it in a policy file.",
    ),
    "dcp-place": ScanCode(
        SUSPICIOUS,
        "A distributed checkpoint that points into its own data",
        "The index .metadata says that an object lies where none begins: inside the numbers of a tensor, or outside of the folder. torch "
        "unpickles what it finds there.",
        _LEAVE,
    ),
    "dcp-hidden": ScanCode(
        SUSPICIOUS,
        "A program among the numbers of a distributed checkpoint",
        "A torch file or a pickle stands inside the data of a tensor, where an index .metadata can point to it. It was looked at.",
        _LEAVE,
    ),
    "suspicious-import": ScanCode(
        SUSPICIOUS,
        "Loading imports what models do not need",
        "The name is of the standard library or of a framework and no honest checkpoint is known to need it.",
        "Ask the publisher what it is for. If it is yours, judge it in a policy file.",
    ),
    "indirect-call": ScanCode(
        SUSPICIOUS,
        "Loading calls what another call returned",
        "What would be called is known only while loading: a way past scanners that look at names.",
        _LEAVE,
    ),
    "array-address": ScanCode(
        SUSPICIOUS,
        "An object that says where in memory its data lies",
        "numpy and torch ask objects for attributes such as __array_interface__ and read, and write, at the address that they tell.",
        _LEAVE,
    ),
    "native-state": ScanCode(
        SUSPICIOUS,
        "An object of torch's native core",
        "Quantised layers keep their weights in such objects; this one is of another class, which reads the rest of its state.",
        _LEAVE,
    ),
    "computed-bytes": ScanCode(
        DANGEROUS,
        "A pickle put together while loading",
        "torch.storage._load_from_bytes unpickles bytes that do not stand in the file as they are, so no scanner can see them.",
        _LEAVE,
    ),
    "joblib-array": ScanCode(
        SUSPICIOUS,
        "An array that may be read in several ways",
        "joblib reads the bytes of an array from between the instructions. Here it may read others than a scanner, or others than "
        "pickle does, so what runs differs. All the readings that can be told were looked at.",
        _LEAVE,
    ),
    "pickle-frame": ScanCode(
        DANGEROUS,
        "A frame that programs read differently",
        "A pickle of protocol 4 or 5 is cut into frames. Here an instruction reaches across the end of one, a frame begins inside "
        "another, or the pickle ends inside one: Python's own unpicklers then go on in different places. No program writes such "
        "a file. Both ways of reading were looked at.",
        _LEAVE,
    ),
    "deep-calls": ScanCode(
        DANGEROUS,
        "Calls hidden in calls",
        "Functions are told to call functions that call functions, deeper than any honest file does and than is looked at.",
        _LEAVE,
    ),
    "pickle-behind-break": ScanCode(
        SUSPICIOUS,
        "Imports behind a damaged place",
        "The pickle could not be followed to its end, and behind the damage stands what looks like imports. Programs that read "
        "more than this one, or a damage put there on purpose, would run them.",
        _AGAIN,
    ),
    "too-many-names": ScanCode(
        SUSPICIOUS,
        "More names than are judged",
        "No honest pickle imports ten thousand names, no honest graph has as many kinds of operators, and no configuration names as many "
        "functions, or any of a thousand letters; what is beyond is not judged.",
        _LEAVE,
    ),
    "second-pickle": ScanCode(
        SUSPICIOUS,
        "A pickle behind the one that is loaded",
        "Another pickle follows the end of the one that torch loads. Programs that read on would load it too.",
        "Ask what wrote the file: no version of torch does this.",
    ),
    "polyglot": ScanCode(
        SUSPICIOUS,
        "Two formats in one file",
        "Programs that look at the beginning and programs that look at the end open different things. Both were looked at.",
        _LEAVE,
    ),
    "zip-headers-differ": ScanCode(
        SUSPICIOUS,
        "The archive contradicts itself",
        "The header in front of a member and the archive's directory say different things, so programs may read different bytes.",
        _AGAIN,
    ),
    "zip-encrypted-flag": ScanCode(
        SUSPICIOUS,
        "Marked as encrypted",
        "torch ignores the mark and loads the member; scanners built on zipfile refuse it and see nothing.",
        _LEAVE,
    ),
    "zip-two-ends": ScanCode(
        SUSPICIOUS, "Two archive directories", "Programs differ in which of the two they take. Both were looked at.", _LEAVE
    ),
    "zip-hidden-member": ScanCode(
        SUSPICIOUS,
        "A member that the directory does not list",
        "Programs that go through the archive from its beginning find it, others do not.",
        _LEAVE,
    ),
    "hidden-pickle": ScanCode(
        SUSPICIOUS,
        "A pickle where no member is",
        "It stands before, between or behind the members of an archive, or in a comment. No usual loader reads it, and no writer puts it "
        "there. What it imports was judged.",
        _LEAVE,
    ),
    "zip-duplicate": ScanCode(SUSPICIOUS, "Two members of one name", "Programs differ in which of them they take.", _LEAVE),
    "tar-duplicate": ScanCode(SUSPICIOUS, "Two members of one name", "Programs differ in which of them they take.", _LEAVE),
    "tar-type": ScanCode(
        SUSPICIOUS,
        "A tar member of a kind that programs take differently",
        "Python's tarfile takes what is of no known kind for a file, other programs pass it over or go on elsewhere.",
        _LEAVE,
    ),
    "tar-global-size": ScanCode(
        SUSPICIOUS,
        "One size for all members of a tar",
        "Programs differ in what it changes, and so in where the next member begins and which members there are.",
        _LEAVE,
    ),
    "tar-number": ScanCode(
        SUSPICIOUS,
        "A size that programs read differently",
        "A header of the tar writes a number in a way that Python's tarfile takes and other programs do not.",
        _LEAVE,
    ),
    "tar-pax": ScanCode(
        SUSPICIOUS,
        "A tar header that programs read differently",
        "What describes a member is damaged or goes on behind its end: some programs take it, some refuse it, some read more of it.",
        _AGAIN,
    ),
    "tar-hidden-member": ScanCode(
        SUSPICIOUS,
        "A member behind the end of a tar",
        "Programs that go on behind the first empty block find it, others do not.",
        _LEAVE,
    ),
    "zip-locator": ScanCode(
        SUSPICIOUS,
        "The archive points to a directory that is not there",
        "Its 64-bit end record is not where the pointer leads. torch ignores that, other programs refuse it or look elsewhere.",
        _LEAVE,
    ),
    "zip-readings": ScanCode(
        SUSPICIOUS,
        "Programs find different members",
        "torch and Python's zipfile find the directory of the archive, or its end, in different places. Both were looked at.",
        _LEAVE,
    ),
    "zip-prefix": ScanCode(
        SUSPICIOUS,
        "Something before the archive",
        "Bytes stand before the first member: an executable or another format may begin there.",
        "Ask what wrote the file: no version of torch does this.",
    ),
    "zip-trailing": ScanCode(
        SUSPICIOUS, "Something behind the archive", "Bytes follow the end of the archive.", "Ask what wrote the file."
    ),
    "zip-crc": ScanCode(
        SUSPICIOUS,
        "A wrong checksum",
        "Programs that check it refuse the member, torch loads it. The file is damaged or was edited.",
        _AGAIN,
    ),
    "script-files": ScanCode(
        DANGEROUS,
        "A program of torch that touches files",
        "The model's own code calls an operator that reads or writes files: torch.jit.load runs such code in a __setstate__, "
        "with weights_only=True too, and a program of torch.export calls it when it runs.",
        _LEAVE,
    ),
    "escaped-text": ScanCode(
        SUSPICIOUS,
        "Words hidden by escapes",
        "JSON or YAML in the file writes plain letters as escapes, which no writer does: a search for words misses them.",
        _LEAVE,
    ),
    "risky-source": ScanCode(
        SUSPICIOUS,
        "Python that loading runs, and that starts programs or opens connections",
        "torch.package and torch.hub run it, servers run handlers and the like, and transformers does under "
        "trust_remote_code=True. The words in it were searched for; of compiled code, its names.",
        "Read the source. Those of a torch.package or a .mar are in the archive, which is a zip.",
    ),
    "unjudged-import": ScanCode(
        UNKNOWN, "Names nobody has judged", "The pickle imports classes of other packages: named, not accused.", _LOOK
    ),
    "unjudged-target": ScanCode(
        UNKNOWN,
        "A configuration that has names called nobody has judged",
        "hydra (_target_), programs of latent diffusion (target: beside params:), yaml.load (!!python/…), TorchServe (a handler) or "
        "another program (see dangerous-target) imports them and calls them with what stands beside.",
        "Look at the names, or judge them in a policy file.",
    ),
    "keras-unjudged": ScanCode(
        UNKNOWN,
        "A Keras configuration that asks for what nobody has judged",
        "Layers and functions of other libraries, or of Keras and no part of models: Keras before 3.9 imports their modules.",
        "Look at the names, or judge them in a policy file.",
    ),
    "computed-target": ScanCode(
        UNKNOWN,
        "A configuration that has something called",
        "What stands behind its _target_, its _component_, or its target: beside params:, is put together from other values, so it cannot be told "
        "by reading; or HyperPyYAML takes in another file (!include:) that is not looked at as YAML; or MONAI evaluates it, "
        "as it does what begins with $.",
        "Read it before you load it with a program that builds objects from its configuration.",
    ),
    "export-import": ScanCode(
        UNKNOWN,
        "A program whose inputs name a module",
        "torch.export.load, and transformers for an exported model (export.json), import the module to build the inputs or outputs.",
        "Look at the name: loading fails where the module is not there.",
    ),
    "packaged-code": ScanCode(
        UNKNOWN,
        "Python code inside",
        "torch.package keeps sources in the file and runs them when it loads.",
        "Read the source: torch.package files are zip archives.",
    ),
    "custom-code": ScanCode(
        UNKNOWN,
        "Asks for code beside the weights",
        "A configuration names Python code that loading runs: of transformers, diffusers and sentence-transformers with "
        "trust_remote_code=True (some older versions without), of mlflow, of PEFT before 0.20, of mlx-lm 0.31, of OpenMMLab "
        "(custom_imports) and of TorchServe without asking.",
        "Read those files before you load it or say trust_remote_code=True, and pin the revision.",
    ),
    "loaded-source": ScanCode(
        UNKNOWN,
        "Python that loading can run",
        "A configuration beside it names code to be imported, or torch.hub or a server would run it: TorchServe, SageMaker (code/inference.py), "
        "Triton (1/model.py), Inference Endpoints (handler.py). Nothing in it stands out, which proves nothing.",
        "Read it before you say trust_remote_code=True or torch.hub.load, or serve it, and pin the revision.",
    ),
    "template-computed": ScanCode(
        UNKNOWN,
        "A chat template that cannot be judged by reading",
        "It takes attributes by names that it puts together itself, takes in other files, or is no Jinja that can be followed.",
        "Read it: -f json has the text. Render it in a sandbox only, as transformers does.",
    ),
    "script-operators": ScanCode(
        UNKNOWN,
        "A program of torch with operators or classes of another library",
        "What these operators and classes do is decided by a library that has to be loaded first, or by one of the system.",
        "Look at the library that brings them.",
    ),
    "foreign-operators": ScanCode(
        UNKNOWN,
        "Operators of another library",
        "What these operators do is decided by a library that the program has to bring, or by compiled code in the file: named, not accused.",
        "Look at the library that brings them, and allow them in a policy file, as com.example.Pool or tflite.custom.Pool.",
    ),
    "object-array": ScanCode(
        UNKNOWN,
        "An array of Python objects",
        "numpy.load(allow_pickle=True) unpickles it. The pickle was looked at.",
        "Load without allow_pickle.",
    ),
    "after-stop": ScanCode(
        UNKNOWN,
        "Bytes behind the last pickle",
        "A loader stops before them. What they are is not known, but that no pickle begins there.",
        "Ask what wrote the file.",
    ),
    "pickle-broken": ScanCode(
        UNKNOWN,
        "A damaged pickle",
        "It could not be followed to its end. What stands before the damage is executed all the same, and was looked at.",
        _AGAIN,
    ),
    "pickle-limit": ScanCode(
        UNKNOWN,
        "A pickle beyond a limit",
        "It is larger or deeper than what is looked at.",
        "Raise the limit that the message names with --limit.",
    ),
    "beyond-limit": ScanCode(
        UNKNOWN,
        "Beyond a limit",
        "The file, or a part of it, is larger, deeper or slower than what is looked at. What could be looked at was.",
        "If you trust the file, raise the limit that the message names with --limit.",
    ),
    "not-read": ScanCode(
        UNKNOWN,
        "Could not be read",
        "It seems to be a model and is damaged. What could be looked at was.",
        _AGAIN,
    ),
    "own-mistake": ScanCode(
        UNKNOWN,
        "A mistake of mscope",
        "It came upon something that nobody foresaw, and did not look at the file to its end.",
        "Report it, with the file if you can. Until it is mended, treat the file as one that nobody looked at.",
    ),
    "not-looked-at": ScanCode(
        UNKNOWN,
        "A part was not looked at",
        "It could hold something that loading runs. The message says what kept it from being looked at.",
        "Unpack it and scan what comes out, or raise the limit that is named with --limit.",
    ),
    "zip-broken": ScanCode(UNKNOWN, "A damaged archive", "Its directory cannot be read; members were searched for.", _AGAIN),
    "polyglot-broken": ScanCode(
        UNKNOWN, "The end of a damaged archive", "The file ends as a zip archive whose directory cannot be read.", _AGAIN
    ),
    "zip-gap": ScanCode(
        UNKNOWN, "Bytes between members", "They belong to no member; no reader looks at them.", "Ask what wrote the file."
    ),
    "zip-name": ScanCode(
        UNKNOWN,
        "A member name that leaves its folder",
        "A careless program that unpacks the archive writes where the name says.",
        "Do not unpack it with a program that follows such names; Python's zipfile does not.",
    ),
    "tar-name": ScanCode(
        UNKNOWN,
        "A member name that leaves its folder",
        "A careless program that unpacks the archive writes where the name says.",
        "Do not unpack it, or use tarfile's data filter.",
    ),
    "tar-link": ScanCode(
        UNKNOWN, "A link in an archive", "Where it leads is not followed.", "Do not unpack it, or use tarfile's data filter."
    ),
    "tar-sparse": ScanCode(
        UNKNOWN,
        "A sparse file in an archive",
        "Only its pieces are stored: programs that fill in the holes and those that do not read different bytes. Both were looked at.",
        "Pack the file again without --sparse.",
    ),
    "tar-end": ScanCode(SAFE, "An archive without its end", "The two empty blocks that end a tar are missing.", _AGAIN),
    "torchscript": ScanCode(
        SAFE,
        "TorchScript code",
        "torch's own compiler reads it; it runs when the model runs, with torch's operators only.",
        "Nothing to do before loading; it runs when you run the model.",
    ),
}
