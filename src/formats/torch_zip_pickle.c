// torch_zip_pickle.c: see torch_zip_pickle.h.
//
// Divisions: values; the stack; the memo; calls; containers; the loop; from description to tensors.
//
// Memory is bounded by the number of operations, which is limited. Values may form cycles (a memo makes that
// possible), so nothing here walks deeper than a state dict goes.
#include "formats/torch_zip_pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/str.h"

enum {
    MAX_OPERATIONS = 1 << 19, // GPT-2 XL with its optimizer's state takes 60,000
};

// ---- Values ---------------------------------------------------------------------------------

enum kind {
    KIND_MARK,
    KIND_NONE, // and floating-point numbers, which no description needs
    KIND_BOOL,
    KIND_INT,
    KIND_TEXT,
    KIND_GLOBAL,
    KIND_TUPLE,
    KIND_LIST,
    KIND_DICT,    // items: key, value, key, value, ...
    KIND_STORAGE, // items of a persistent id: 'storage', type, key, location, size
    KIND_TENSOR,  // items of _rebuild_tensor_v2's arguments: storage, offset, shape, strides, ...
};

struct value {
    enum kind kind;
    uint32_t size; // of a text
    union {
        int64_t number;   // int, bool; index into globals[]
        const char *text; // [size] in the pickle
        size_t node;      // everything with items
    };
};

struct node {
    struct value *items; // [n]
    size_t n, capacity;
};

// What may be imported. A storage's type is only named in a persistent id; the others are called.
enum role {
    ROLE_DICT,
    ROLE_TENSOR,
    ROLE_PARAMETER,
    ROLE_STORAGE
};
static const struct {
    const char *name;
    enum role role;
    const char *dtype_name; // as safetensors has it
    unsigned bits;
} globals[] = {
    {"collections.OrderedDict", ROLE_DICT, NULL, 0},
    {"torch._utils._rebuild_tensor_v2", ROLE_TENSOR, NULL, 0},
    {"torch._utils._rebuild_parameter", ROLE_PARAMETER, NULL, 0},
    {"torch.FloatStorage", ROLE_STORAGE, "F32", 32},
    {"torch.HalfStorage", ROLE_STORAGE, "F16", 16},
    {"torch.BFloat16Storage", ROLE_STORAGE, "BF16", 16},
    {"torch.DoubleStorage", ROLE_STORAGE, "F64", 64},
    {"torch.LongStorage", ROLE_STORAGE, "I64", 64},
    {"torch.IntStorage", ROLE_STORAGE, "I32", 32},
    {"torch.ShortStorage", ROLE_STORAGE, "I16", 16},
    {"torch.CharStorage", ROLE_STORAGE, "I8", 8},
    {"torch.ByteStorage", ROLE_STORAGE, "U8", 8},
    {"torch.BoolStorage", ROLE_STORAGE, "BOOL", 8},
};

struct machine {
    struct cursor cursor;
    struct node stack; // items only
    struct node memo;
    struct node *nodes; // [n_nodes]
    size_t n_nodes, node_capacity;
    struct llm_error *err;
};

static bool append(struct machine *machine, struct node *node, struct value value) {
    if (node->n == node->capacity) {
        const size_t capacity = node->capacity == 0 ? 4 : 2 * node->capacity;
        struct value *items = realloc(node->items, capacity * sizeof *items);
        if (items == NULL) return error_memory(machine->err, "pickle");
        node->items = items;
        node->capacity = capacity;
    }
    node->items[node->n++] = value;
    return true;
}

// ---- The stack ------------------------------------------------------------------------------

static bool push(struct machine *machine, struct value value) {
    return append(machine, &machine->stack, value);
}

static bool push_number(struct machine *machine, enum kind kind, int64_t number) {
    return push(machine, (struct value){.kind = kind, .number = number});
}

// A new value of this kind with items, of which it takes the topmost n of the stack.
static bool push_node(struct machine *machine, enum kind kind, size_t n) {
    if (machine->n_nodes == machine->node_capacity) {
        const size_t capacity = machine->node_capacity == 0 ? 64 : 2 * machine->node_capacity;
        struct node *nodes = realloc(machine->nodes, capacity * sizeof *nodes);
        if (nodes == NULL) return error_memory(machine->err, "pickle");
        machine->nodes = nodes;
        machine->node_capacity = capacity;
    }
    struct node *node = &machine->nodes[machine->n_nodes];
    *node = (struct node){0};
    const struct value value = {.kind = kind, .node = machine->n_nodes++};
    struct node *stack = &machine->stack;
    for (size_t i = stack->n - n; i < stack->n; i++) {
        if (!append(machine, node, stack->items[i])) return false;
    }
    stack->n -= n;
    return push(machine, value);
}

// How many values lie above the topmost mark.
static bool count_to_mark(struct machine *machine, size_t *n) {
    const struct node *stack = &machine->stack;
    for (*n = 0; *n < stack->n; ++*n) {
        if (stack->items[stack->n - 1 - *n].kind == KIND_MARK) return true;
    }
    return cursor_fail(&machine->cursor, "a mark was expected on the stack");
}

// The topmost n values, none of them a mark; they stay on the stack.
static struct value *top(struct machine *machine, size_t n) {
    struct node *stack = &machine->stack;
    size_t n_marks = 0;
    for (size_t i = 0; n <= stack->n && i < n; i++) n_marks += stack->items[stack->n - 1 - i].kind == KIND_MARK;
    if (n <= stack->n && n_marks == 0) return stack->items + stack->n - n;
    cursor_fail(&machine->cursor, "%zu values were expected on the stack", n);
    return NULL;
}

// ---- The memo -------------------------------------------------------------------------------

// Python's pickler numbers what it remembers 0, 1, 2, ...
static bool memo_put(struct machine *machine, size_t index) {
    const struct value *value = top(machine, 1);
    if (value == NULL) return false;
    if (index > machine->memo.n) {
        return cursor_fail(&machine->cursor, "memo entry %zu is put, %zu was expected", index, machine->memo.n);
    }
    if (index == machine->memo.n) return append(machine, &machine->memo, *value);
    machine->memo.items[index] = *value;
    return true;
}

static bool memo_get(struct machine *machine, size_t index) {
    if (!cursor_ok(&machine->cursor)) return false;
    if (index < machine->memo.n) return push(machine, machine->memo.items[index]);
    return cursor_fail(&machine->cursor, "memo entry %zu is asked for, there are %zu", index, machine->memo.n);
}

// ---- Calls ----------------------------------------------------------------------------------

// A global by name, pushed; a name that is not in the table ends the reading.
static bool push_global(struct machine *machine, const char *module, size_t module_size, const char *name,
                        size_t name_size) {
    char text[STR_QUOTE_SIZE * 2];
    snprintf(text, sizeof text, "%.*s.%.*s", (int)(module_size < 90 ? module_size : 90), module,
             (int)(name_size < 90 ? name_size : 90), name);
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (strcmp(globals[i].name, text) == 0 && strlen(text) == module_size + name_size + 1) {
            return push_number(machine, KIND_GLOBAL, (int64_t)i);
        }
    }
    char quoted[STR_QUOTE_SIZE];
    return error_set(machine->err, LLM_ERROR_UNSUPPORTED,
                     "asks for Python's %s, which no dict of tensors needs, so nothing is read; save the model with "
                     "torch.save(model.state_dict(), PATH)",
                     str_quote(text, quoted));
}

// GLOBAL: two lines, module and name.
static bool read_global(struct machine *machine) {
    const char *parts[2];
    size_t sizes[2];
    for (int i = 0; i < 2; i++) {
        struct cursor *cursor = &machine->cursor;
        const uint8_t *begin = cursor->bytes + cursor->offset;
        const uint8_t *end = memchr(begin, '\n', cursor_left(cursor));
        if (end == NULL) return cursor_fail(cursor, "the name of a global has no end");
        parts[i] = (const char *)begin;
        sizes[i] = (size_t)(end - begin);
        cursor->offset += sizes[i] + 1;
    }
    return push_global(machine, parts[0], sizes[0], parts[1], sizes[1]);
}

static bool stack_global(struct machine *machine) {
    const struct value *names = top(machine, 2);
    if (names == NULL) return false;
    if (names[0].kind != KIND_TEXT || names[1].kind != KIND_TEXT) {
        return cursor_fail(&machine->cursor, "the name of a global is not text");
    }
    machine->stack.n -= 2;
    return push_global(machine, names[0].text, names[0].size, names[1].text, names[1].size);
}

// REDUCE: the callable below, a tuple of arguments on top.
static bool reduce(struct machine *machine) {
    const struct value *call = top(machine, 2);
    if (call == NULL) return false;
    if (call[0].kind != KIND_GLOBAL || call[1].kind != KIND_TUPLE) {
        return cursor_fail(&machine->cursor, "what is called is not a global with a tuple of arguments");
    }
    const struct value arguments = call[1];
    const struct node node = machine->nodes[arguments.node];
    const char *const name = globals[call[0].number].name;
    machine->stack.n -= 2;
    switch (globals[call[0].number].role) {
    case ROLE_DICT:
        return node.n == 0 ? push_node(machine, KIND_DICT, 0)
                           : cursor_fail(&machine->cursor, "%s is called with arguments", name);
    case ROLE_TENSOR:
        return push(machine, (struct value){.kind = KIND_TENSOR, .node = arguments.node});
    case ROLE_PARAMETER:
        return node.n > 0 && node.items[0].kind == KIND_TENSOR
                   ? push(machine, node.items[0])
                   : cursor_fail(&machine->cursor, "%s is called without a tensor", name);
    case ROLE_STORAGE:
        break;
    }
    return cursor_fail(&machine->cursor, "%s is called; storages come by persistent id", name);
}

// BINPERSID: a tuple becomes a storage.
static bool persistent_id(struct machine *machine) {
    struct value *id = top(machine, 1);
    if (id == NULL) return false;
    if (id->kind != KIND_TUPLE) return cursor_fail(&machine->cursor, "a persistent id is not a tuple");
    id->kind = KIND_STORAGE;
    return true;
}

// BUILD: the state on top is set on what is below. A state dict has its _metadata there, which nothing needs.
static bool build(struct machine *machine) {
    const struct value *pair = top(machine, 2);
    if (pair == NULL) return false;
    if (pair[0].kind != KIND_DICT) return cursor_fail(&machine->cursor, "a state is set on what is not a dict");
    machine->stack.n--;
    return true;
}

// ---- Containers -----------------------------------------------------------------------------

// Moves the topmost n values into the container below them; with `marked`, a mark lies between.
static bool add_items(struct machine *machine, enum kind kind, size_t n, bool marked) {
    struct node *stack = &machine->stack;
    const size_t below = n + (marked ? 1 : 0);
    if (stack->n <= below || stack->items[stack->n - 1 - below].kind != kind || (kind == KIND_DICT && n % 2 != 0)) {
        return cursor_fail(&machine->cursor, "items are added to what is not a %s",
                           kind == KIND_DICT ? "dict, or not in pairs" : "list");
    }
    if (top(machine, n) == NULL) return false;
    struct node *node = &machine->nodes[stack->items[stack->n - 1 - below].node];
    for (size_t i = stack->n - n; i < stack->n; i++) {
        if (!append(machine, node, stack->items[i])) return false;
    }
    stack->n -= below;
    return true;
}

static bool add_marked_items(struct machine *machine, enum kind kind) {
    size_t n = 0;
    return count_to_mark(machine, &n) && add_items(machine, kind, n, true);
}

static bool push_marked_tuple(struct machine *machine) {
    size_t n = 0;
    if (!count_to_mark(machine, &n) || !push_node(machine, KIND_TUPLE, n)) return false;
    struct node *stack = &machine->stack;
    stack->items[stack->n - 2] = stack->items[stack->n - 1]; // over the mark
    stack->n--;
    return true;
}

static bool push_short_tuple(struct machine *machine, size_t n) {
    return top(machine, n) != NULL && push_node(machine, KIND_TUPLE, n);
}

static bool push_text(struct machine *machine, uint64_t size) {
    const uint8_t *text = cursor_take(&machine->cursor, size, "text");
    if (text == NULL) return false;
    if (size > UINT32_MAX) return cursor_fail(&machine->cursor, "a text has %llu bytes", (unsigned long long)size);
    return push(machine, (struct value){.kind = KIND_TEXT, .size = (uint32_t)size, .text = (const char *)text});
}

// LONG1: a count, and as many bytes of a two's complement number, little-endian.
static bool push_long(struct machine *machine) {
    const uint8_t size = cursor_u8(&machine->cursor, "size of a number");
    const uint8_t *bytes = cursor_take(&machine->cursor, size, "number");
    if (bytes == NULL) return false;
    if (size > 8) return cursor_fail(&machine->cursor, "a number has %d bytes, at most 8 are supported", size);
    uint64_t bits = size > 0 && bytes[size - 1] >= 0x80 ? UINT64_MAX : 0;
    for (int i = size - 1; i >= 0; i--) bits = bits << 8 | bytes[i];
    return push_number(machine, KIND_INT, (int64_t)bits);
}

// ---- The loop -------------------------------------------------------------------------------

// One operation but STOP; its codes are named as in pickletools.py.
static bool step(struct machine *machine, uint8_t code) {
    struct cursor *cursor = &machine->cursor;
    switch (code) {
    case 0x80: // PROTO
    case 0x95: // FRAME
        cursor_take(cursor, code == 0x80 ? 1 : 8, "operand");
        return cursor_ok(cursor);
    case '(': // MARK
        return push_number(machine, KIND_MARK, 0);
    case 'N': // NONE
        return push_number(machine, KIND_NONE, 0);
    case 'G': // BINFLOAT
        return cursor_take(cursor, 8, "number") != NULL && push_number(machine, KIND_NONE, 0);
    case 0x88: // NEWTRUE
    case 0x89: // NEWFALSE
        return push_number(machine, KIND_BOOL, code == 0x88);
    case 'J': // BININT
        return push_number(machine, KIND_INT, (int32_t)cursor_u32(cursor, "number"));
    case 'K': // BININT1
        return push_number(machine, KIND_INT, cursor_u8(cursor, "number"));
    case 'M': // BININT2
        return push_number(machine, KIND_INT, cursor_u16(cursor, "number"));
    case 0x8a: // LONG1
        return push_long(machine);
    case 'X': // BINUNICODE
        return push_text(machine, cursor_u32(cursor, "size of a text"));
    case 0x8c: // SHORT_BINUNICODE
        return push_text(machine, cursor_u8(cursor, "size of a text"));
    case ')': // EMPTY_TUPLE
        return push_node(machine, KIND_TUPLE, 0);
    case 0x85: // TUPLE1
    case 0x86: // TUPLE2
    case 0x87: // TUPLE3
        return push_short_tuple(machine, code - 0x84U);
    case 't': // TUPLE
        return push_marked_tuple(machine);
    case ']': // EMPTY_LIST
        return push_node(machine, KIND_LIST, 0);
    case 'a': // APPEND
        return add_items(machine, KIND_LIST, 1, false);
    case 'e': // APPENDS
        return add_marked_items(machine, KIND_LIST);
    case '}': // EMPTY_DICT
        return push_node(machine, KIND_DICT, 0);
    case 's': // SETITEM
        return add_items(machine, KIND_DICT, 2, false);
    case 'u': // SETITEMS
        return add_marked_items(machine, KIND_DICT);
    case 'q': // BINPUT
        return memo_put(machine, cursor_u8(cursor, "memo entry"));
    case 'r': // LONG_BINPUT
        return memo_put(machine, cursor_u32(cursor, "memo entry"));
    case 0x94: // MEMOIZE
        return memo_put(machine, machine->memo.n);
    case 'h': // BINGET
        return memo_get(machine, cursor_u8(cursor, "memo entry"));
    case 'j': // LONG_BINGET
        return memo_get(machine, cursor_u32(cursor, "memo entry"));
    case 'c': // GLOBAL
        return read_global(machine);
    case 0x93: // STACK_GLOBAL
        return stack_global(machine);
    case 'R': // REDUCE
        return reduce(machine);
    case 'Q': // BINPERSID
        return persistent_id(machine);
    case 'b': // BUILD
        return build(machine);
    default:
        cursor->offset--; // to where it stands
        return cursor_fail(cursor, "operation 0x%02x is not one that a dict of tensors needs", code);
    }
}

// Runs to STOP, which must be the last byte; the result is the one value left.
static bool run(struct machine *machine, struct value *result) {
    struct cursor *cursor = &machine->cursor;
    for (int n = 0; n < MAX_OPERATIONS; n++) {
        const uint8_t code = cursor_u8(cursor, "operation");
        if (!cursor_ok(cursor)) return false;
        if (code != '.') {
            if (!step(machine, code) || !cursor_ok(cursor)) return false;
            continue;
        }
        if (cursor_left(cursor) > 0) return cursor_fail(cursor, "%zu bytes follow the end", cursor_left(cursor));
        if (machine->stack.n != 1) {
            return cursor_fail(cursor, "%zu values are left at the end, one was expected", machine->stack.n);
        }
        *result = machine->stack.items[0];
        return true;
    }
    return error_set(machine->err, LLM_ERROR_UNSUPPORTED, "has more than %d operations", MAX_OPERATIONS);
}

// ---- From description to tensors ------------------------------------------------------------

static bool text_is(const struct value *value, const char *text) {
    return value->kind == KIND_TEXT && value->size == strlen(text) && memcmp(value->text, text, value->size) == 0;
}

// The tuple of numbers at `value`; returns how many, or -1.
static int read_numbers(const struct machine *machine, const struct value *value, int64_t numbers[TENSOR_MAX_RANK]) {
    if (value->kind != KIND_TUPLE) return -1;
    const struct node *node = &machine->nodes[value->node];
    if (node->n > TENSOR_MAX_RANK) return -1;
    for (size_t i = 0; i < node->n; i++) {
        if (node->items[i].kind != KIND_INT) return -1;
        numbers[i] = node->items[i].number;
    }
    return (int)node->n;
}

static bool describe_storage(const struct machine *machine, const struct value *value, struct pickled_tensor *tensor) {
    if (value->kind != KIND_STORAGE) return false;
    const struct node *id = &machine->nodes[value->node];
    if (id->n != 5 || !text_is(&id->items[0], "storage") || id->items[1].kind != KIND_GLOBAL ||
        globals[id->items[1].number].role != ROLE_STORAGE || id->items[2].kind != KIND_TEXT ||
        id->items[4].kind != KIND_INT) {
        return false;
    }
    tensor->dtype_name = globals[id->items[1].number].dtype_name;
    tensor->bits = globals[id->items[1].number].bits;
    tensor->key = id->items[2].text;
    tensor->key_size = id->items[2].size;
    tensor->storage_size = id->items[4].number;
    return true;
}

static bool describe(const struct machine *machine, const struct value *value, struct pickled_tensor *tensor) {
    if (value->kind != KIND_TENSOR) return error_set(machine->err, LLM_ERROR_FORMAT, "is not a tensor");
    const struct node *arguments = &machine->nodes[value->node];
    const struct value *items = arguments->items;
    if (arguments->n < 4 || items[1].kind != KIND_INT || !describe_storage(machine, &items[0], tensor)) {
        return error_set(machine->err, LLM_ERROR_FORMAT, "its storage, offset, shape and strides were expected");
    }
    tensor->offset = items[1].number;
    tensor->rank = read_numbers(machine, &items[2], tensor->shape);
    if (tensor->rank >= 0 && read_numbers(machine, &items[3], tensor->strides) == tensor->rank) return true;
    return error_set(machine->err, LLM_ERROR_FORMAT,
                     "its shape and strides are not two tuples of as many numbers, at most %d", TENSOR_MAX_RANK);
}

static bool read_name(const struct value *value, struct pickled_tensor *tensor, struct llm_error *err) {
    if (value->kind != KIND_TEXT || value->size > PICKLED_NAME_MAX || memchr(value->text, '\0', value->size) != NULL) {
        return error_set(err, LLM_ERROR_FORMAT, "a tensor's name is not text of at most %d bytes", PICKLED_NAME_MAX);
    }
    if (value->size > 0) memcpy(tensor->name, value->text, value->size);
    tensor->name[value->size] = '\0';
    return true;
}

static bool has_tensors(const struct node *dict) {
    for (size_t i = 1; i < dict->n; i += 2) {
        if (dict->items[i].kind == KIND_TENSOR) return true;
    }
    return false;
}

// The dict that holds the tensors: this one, or what training scripts keep beside an optimizer's state.
static const struct node *find_state_dict(const struct machine *machine, const struct value *root) {
    static const char *const keys[] = {"model_state_dict", "state_dict", "model"};
    if (root->kind != KIND_DICT) return NULL;
    const struct node *dict = &machine->nodes[root->node];
    if (has_tensors(dict)) return dict;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        for (size_t i = 0; i < dict->n; i += 2) {
            if (!text_is(&dict->items[i], keys[k]) || dict->items[i + 1].kind != KIND_DICT) continue;
            const struct node *inner = &machine->nodes[dict->items[i + 1].node];
            if (has_tensors(inner)) return inner;
        }
    }
    return NULL;
}

static bool each_tensor(const struct machine *machine, const struct value *root, pickled_tensor_fn *entry, void *user) {
    const struct node *dict = find_state_dict(machine, root);
    if (dict == NULL) {
        return error_set(machine->err, LLM_ERROR_FORMAT,
                         "holds no dict of tensors; a state dict was expected, or one under model_state_dict, "
                         "state_dict or model");
    }
    for (size_t i = 0; i < dict->n; i += 2) {
        struct pickled_tensor tensor = {0};
        if (!read_name(&dict->items[i], &tensor, machine->err)) return false;
        if (describe(machine, &dict->items[i + 1], &tensor) && entry(user, &tensor, machine->err)) continue;
        char quoted[STR_QUOTE_SIZE];
        error_prefix(machine->err, "tensor %s", str_quote(tensor.name, quoted));
        return false;
    }
    return true;
}

bool torch_pickle_read(const uint8_t *bytes, size_t size, pickled_tensor_fn *entry, void *user, struct llm_error *err) {
    struct machine machine = {.err = err};
    cursor_init(&machine.cursor, bytes, size, err);
    struct value root = {0};
    bool ok = run(&machine, &root) && each_tensor(&machine, &root, entry, user);
    for (size_t i = 0; i < machine.n_nodes; i++) free(machine.nodes[i].items);
    free(machine.nodes);
    free(machine.stack.items);
    free(machine.memo.items);
    return ok;
}
