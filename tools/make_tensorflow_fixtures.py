"""Writes tests/fixtures/formats/tensorflow-*: small checkpoints made by TensorFlow itself.

    python tools/make_tensorflow_fixtures.py        (made with tensorflow 2.21.0, numpy 2.4.6)

Each directory holds what TensorFlow wrote and, in expected.txt, what must be read back: one line
`NAME DTYPE [SHAPE] BYTES` a tensor, sorted by name, the data in hexadecimal.

    tensorflow-gpt2    OpenAI's tensor names and file names, one data file (compat.v1 Saver)
    tensorflow-shards  two data files, merged by MergeV2Checkpoints, and a `checkpoint` that names them
    tensorflow-dtypes  other dtypes, strings, a scalar, an empty tensor; no `checkpoint` file
    tensorflow-slices  a partitioned variable, which is refused
"""
import os
import shutil
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "fixtures", "formats")
NAMES = {tf.float32: "DT_FLOAT", tf.float64: "DT_DOUBLE", tf.float16: "DT_HALF", tf.bfloat16: "DT_BFLOAT16",
         tf.int64: "DT_INT64", tf.int32: "DT_INT32", tf.uint8: "DT_UINT8", tf.bool: "DT_BOOL",
         tf.complex64: "DT_COMPLEX64", tf.string: "DT_STRING"}


def fresh(name):
    path = os.path.join(ROOT, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    os.chdir(path)  # TensorFlow writes an absolute path into `checkpoint` when it was given one
    return path


def expected(path, tensors):
    with open(os.path.join(path, "expected.txt"), "w") as file:
        for name in sorted(tensors):
            t = tf.convert_to_tensor(tensors[name])
            # Strings are stored in a way of their own; the test only looks at dtype and shape.
            data = "-" if t.dtype == tf.string else (t.numpy().tobytes().hex() or "-")
            file.write(f"{name} {NAMES[t.dtype]} [{', '.join(map(str, t.shape))}] {data}\n")


def gpt2():
    n_layer, n_embd, n_vocab, n_ctx = 2, 4, 10, 6
    rng = np.random.RandomState(1)
    shapes = {"wte": [n_vocab, n_embd], "wpe": [n_ctx, n_embd], "ln_f/g": [n_embd], "ln_f/b": [n_embd]}
    for h in range(n_layer):
        for ln in ("ln_1", "ln_2"):
            shapes[f"h{h}/{ln}/g"] = shapes[f"h{h}/{ln}/b"] = [n_embd]
        for name, n_in, n_out in (("attn/c_attn", n_embd, 3 * n_embd), ("attn/c_proj", n_embd, n_embd),
                                  ("mlp/c_fc", n_embd, 4 * n_embd), ("mlp/c_proj", 4 * n_embd, n_embd)):
            shapes[f"h{h}/{name}/w"] = [1, n_in, n_out]
            shapes[f"h{h}/{name}/b"] = [n_out]
    tensors = {"model/" + name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    path = fresh("tensorflow-gpt2")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [tf.compat.v1.get_variable(n, initializer=v, use_resource=False) for n, v in tensors.items()]
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(variables).save(session, "./model.ckpt", write_meta_graph=False)
    expected(path, tensors)


def save(prefix, tensors, slices=None):
    names = list(tensors)
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=slices or [""] * len(names),
                      tensors=[tf.convert_to_tensor(tensors[n]) for n in names])


def shards():
    rng = np.random.RandomState(2)
    tensors = {f"model/h{h}/ln_1/g": rng.standard_normal(3 + h).astype(np.float32) for h in range(5)}
    names = sorted(tensors)
    path = fresh("tensorflow-shards")
    with tempfile.TemporaryDirectory() as parts:
        prefixes = []
        for i, part in enumerate((names[::2], names[1::2])):
            prefixes.append(os.path.join(parts, str(i)))
            save(prefixes[-1], {n: tensors[n] for n in part})
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=prefixes, destination_prefix="step-7", delete_old_dirs=False)
    tf.compat.v1.train.update_checkpoint_state(".", "step-7")
    expected(path, tensors)


def dtypes():
    tensors = {
        "bf16": tf.constant([1.0, -2.5, 3e38], tf.bfloat16), "f16": tf.constant([[1.0, 65504.0]], tf.float16),
        "f64": tf.constant([1.5], tf.float64), "i64": tf.constant([-1, 2], tf.int64), "i32": tf.constant(7, tf.int32),
        "u8": tf.constant([255, 1, 2], tf.uint8), "bool": tf.constant([True, False]),
        "c64": tf.constant([1 + 2j], tf.complex64), "scalar": tf.constant(0.5), "empty": tf.zeros([0, 3]),
        "strings": tf.constant(["", "alpha", "x" * 200]), "no_strings": tf.constant([], tf.string),
    }
    path = fresh("tensorflow-dtypes")
    save("model.ckpt", tensors)
    expected(path, tensors)


def slices():
    fresh("tensorflow-slices")
    save("model.ckpt", {"model/wte": tf.zeros([2, 4])}, ["4 4 0,2:0,4"])


if __name__ == "__main__":
    print("tensorflow", tf.__version__, "numpy", np.__version__)
    gpt2()
    shards()
    dtypes()
    slices()
