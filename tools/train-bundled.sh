#!/bin/sh
# Trains the model that comes with my-llm, from nothing to finished: a vocabulary, the model in two stages, and its files
# in F16. The second stage goes on from the first one's model, whose learning rate had come to 0, with other batches.
#
#     tools/train-bundled.sh BOOKS FOLDER [MY-LLM]
#
# BOOKS is the collection of prose (.xz). Everything lies in FOLDER, FOLDER/bundled in the end. Stopped in between
# (Ctrl-C, a power cut), the same command goes on.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: $0 BOOKS FOLDER [MY-LLM]" >&2
    exit 2
fi
books=$1 folder=$2 my_llm=${3:-build/my-llm}

mkdir -p "$folder"
[ -d "$folder/vocabulary" ] || "$my_llm" tokenize --train "$books" --vocab-size 8192 --out "$folder/vocabulary"

# train RUN OPTION...: the run, or the rest of it.
train() {
    run=$1
    shift
    resume=
    [ -d "$run" ] && resume=--resume
    "$my_llm" pretrain "$books" --out "$run" $resume --cache "$folder/ids" --val-split 0.02 --context 512 --batch-size 8 \
        --compute bf16 --schedule constant --min-lr 0 --decay matrices --beta2 0.99 --save-every 200 \
        --prompt "Once upon a time" --sample-tokens 0 "$@"
}

if [ ! -d "$folder/first" ]; then
    train "$folder/first-run" --tokenizer "$folder/vocabulary" --n-layer 8 --n-head 4 --n-embd 256 \
        --lr 1.5e-3 --warmup 400 --steps 6900 --cooldown 1440 --eval-freq 500 --eval-iter 10
    "$my_llm" convert --dtype f16 "$folder/first-run" "$folder/first"
fi
train "$folder/second-run" --init "$folder/first" --seed 2 \
    --lr 1.2e-3 --warmup 200 --steps 27500 --cooldown 7500 --eval-freq 1000 --eval-iter 20
"$my_llm" convert --dtype f16 --force "$folder/second-run" "$folder/bundled"
