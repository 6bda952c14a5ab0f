// fuzz_tensorflow.c: any bytes as a TensorFlow checkpoint. As everything lies under checksums, which no
// mutation keeps right, the first byte says how the rest is used:
//
//     0  u16 size of the index, the index, one data file
//     1  the contents of a data block, wrapped in a good table; the data file is 64 zeros
//     2  the contents of the index block of a table whose one data block is good
//     3  the description of one tensor (BundleEntryProto) in a good block; the data file is 64 zeros
#include <stdlib.h>
#include <string.h>

#include "../unit/tensorflow_maker.h"
#include "formats/tensorflow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(const uint8_t *index, size_t index_size, const uint8_t *shard, size_t shard_size) {
    // A copy of exact size, so that reading past it is seen.
    uint8_t *exact = malloc(index_size);
    if (index_size > 0) memcpy(exact, index, index_size);
    struct llm_error err = {0};
    struct container *container = tensorflow_parse(exact, index_size, &shard, &shard_size, 1, &err);
    free(exact);
    if ((container == NULL) != (err.code != LLM_OK)) abort();
    for (int i = 0; container != NULL && i < container->n_tensors; i++) {
        const struct tensor_view *tensor = &container->tensors[i];
        if (tensor->data < shard || tensor->size > shard_size) abort();
        if (tensor->data > shard + shard_size - tensor->size) abort();
        if (container_find(container, tensor->name) != tensor) abort();
    }
    container_free(container);
}

static struct block good_block(const uint8_t *value, size_t value_size) {
    struct block block = new_block();
    struct strbuf header = header_value(1, 0, 0);
    put_key(&block, "", &header);
    strbuf_release(&header);
    if (value != NULL) put_entry(&block, 0, "a", 1, value, value_size);
    end_block(&block);
    return block;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t zeros[64] = {0};
    if (size < 1 || size > 1 << 20) return 0;
    const uint8_t mode = data[0];
    data++;
    size--;
    if (mode == 0) {
        if (size < 2) return 0;
        const size_t index_size = (size_t)(data[0] | data[1] << 8);
        if (index_size > size - 2) return 0;
        parse(data + 2, index_size, data + 2 + index_size, size - 2 - index_size);
        return 0;
    }
    struct strbuf index = new_buffer();
    if (mode == 1 || mode == 3) {
        struct block block;
        if (mode == 1) {
            block = new_block();
            strbuf_append(&block.bytes, data, size);
            strbuf_release(&block.restarts);
        } else {
            block = good_block(data, size);
        }
        put_table(&index, &block, 1, 0);
    } else {
        struct block block = good_block(NULL, 0);
        uint64_t metaindex_size = 0;
        uint64_t handles_size = 0;
        put_block(&index, &block, 0, &metaindex_size);
        block = new_block();
        end_block(&block);
        const uint64_t metaindex = put_block(&index, &block, 0, &metaindex_size);
        block = new_block();
        strbuf_append(&block.bytes, data, size);
        strbuf_release(&block.restarts);
        const uint64_t handles = put_block(&index, &block, 0, &handles_size);
        put_footer(&index, metaindex, metaindex_size, handles, handles_size);
    }
    parse((const uint8_t *)index.bytes, index.size, zeros, sizeof zeros);
    strbuf_release(&index);
    return 0;
}
