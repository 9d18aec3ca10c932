#include "sim/agenda.h"

void tw_agenda_init(struct tw_agenda *agenda, struct tw_agenda_event *heap, size_t room) {
    *agenda = (struct tw_agenda){.heap = heap, .room = room};
}

static bool is_before(const struct tw_agenda_event *a, const struct tw_agenda_event *b) {
    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns;
    if (a->priority != b->priority)
        return a->priority < b->priority;
    if (a->worker != b->worker)
        return a->worker < b->worker;
    return a->sequence < b->sequence;
}

enum tw_status tw_agenda_put(struct tw_agenda *agenda, const struct tw_agenda_event *event) {
    struct tw_agenda_event added = *event, *heap = agenda->heap;
    if (agenda->count == agenda->room)
        return TW_LIMIT;
    added.sequence = agenda->puts++;
    size_t at = agenda->count++;
    while (at > 0 && is_before(&added, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = added;
    return TW_OK;
}

bool tw_agenda_take(struct tw_agenda *agenda, struct tw_agenda_event *out) {
    struct tw_agenda_event *heap = agenda->heap;
    if (agenda->count == 0)
        return false;
    *out = heap[0];
    struct tw_agenda_event last = heap[--agenda->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= agenda->count)
            break;
        if (child + 1 < agenda->count && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (is_before(&last, &heap[child]))
            break;
        heap[at] = heap[child];
        at = child;
    }
    if (agenda->count > 0)
        heap[at] = last;
    return true;
}
