/*
 * A model, for Spin, of how results come from the checker to whoever asks, over reloads and to the
 * end: publisher, readers, reload, stop. `make model` looks at every order in which the steps of
 * the threads can fall; tests/model/test_spin.py says how many of each there are then, and breaks
 * the model on purpose (BUG_... below) to see that each fault is found.
 *
 * Safety, by assertions: nothing is used after it was freed, neither a snapshot nor the
 * configuration that its names lie in; a reader gets the snapshot whose publication had ended when
 * it came or a newer one, and never an older one than before; each reload is answered once; the
 * supervisor hears "ready" only when no reload is under way and no stop has begun, and what it is
 * told last is how the last reload ended; at the end all memory is freed; no deadlock.
 * Liveness, by the ltl lines at the end and a fair scheduler: a publication ends though readers
 * never rest, every reload is answered, a stop ends.
 *
 * Not in it: memory orders (in Spin all see a step at once; the thread sanitizer looks at those),
 * CivetWeb, what a probe does on the wire, a snapshot for which there is no memory (none is made).
 *
 * Each step stands for a line of code: it is named here by file, function and line. A step of the
 * model alone is called ghost_... tests/compile/test_model.py fails when a line is not in its
 * function any more, when lines of one function have changed places, and when a step is not in
 * this list.
 *
 * src/report/board.c
 *   board_open
 *     lock_to_write      PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP
 *   lock_to_read
 *     lock_to_read       pthread_rwlock_rdlock(&lock.rwlock);
 *   lock_to_write
 *     lock_to_write      pthread_rwlock_wrlock(&lock.rwlock);
 *   unlock_read
 *     unlock_read        pthread_rwlock_unlock(&lock.rwlock);
 *   unlock_write
 *     unlock_write       pthread_rwlock_unlock(&lock.rwlock);
 *   exchange
 *     lock_to_write      lock_to_write();
 *     exchange           struct snapshot *before = latest;
 *     exchange           latest = s;
 *     unlock_write       unlock_write();
 *   board_publish
 *     board_publish      snapshot_unref(exchange(s));
 *   board_acquire
 *     lock_to_read       lock_to_read();
 *     board_acquire      snapshot_ref(latest)
 *     unlock_read        unlock_read();
 *   board_close
 *     board_close        snapshot_unref(exchange(NULL));
 *     board_close        pthread_rwlock_destroy(&lock.rwlock);
 * src/report/snapshot.c
 *   snapshot_new
 *     snapshot_new       .config = config_ref(config),
 *     snapshot_new       *v = *views[i];
 *   snapshot_ref
 *     snapshot_ref       atomic_fetch_add_explicit(&s->refs, 1,
 *   snapshot_unref
 *     snapshot_unref     atomic_fetch_sub_explicit(&s->refs, 1,
 *     snapshot_free      body_free(
 *     snapshot_free      config_unref(s->config);
 *     snapshot_free      region_free(s->region);
 * src/report/body.c
 *   body_add
 *     body_add           atomic_load_explicit(slot,
 *     body_add           mine = body_new(
 *     body_add           atomic_compare_exchange_strong_explicit(slot, &b, mine,
 *     body_add           body_free(mine);
 * src/config/config.c
 *   config_ref
 *     config_ref         atomic_fetch_add_explicit(&config->refs, 1,
 *   config_unref
 *     config_unref       atomic_fetch_sub_explicit(&config->refs, 1,
 *     config_unref       free(config);
 * src/check/loop.c
 *   lock_inbox
 *     lock_inbox         pthread_mutex_lock(&inbox_lock.mutex);
 *   loop_post
 *     lock_inbox         lock_inbox();
 *     loop_post          *loop->inbox_end = letter;
 *     loop_post          loop->inbox_end = &letter->next;
 *     unlock_inbox       unlock_inbox();
 *     loop_post          uv_async_send(&loop->wake);
 *   on_wake
 *     lock_inbox         lock_inbox();
 *     on_wake            first = loop->inbox;
 *     on_wake            loop->inbox = NULL;
 *     on_wake            loop->inbox_end = &loop->inbox;
 *     unlock_inbox       unlock_inbox();
 *     on_wake            next = first->next;
 *     on_wake            first->fn(first->arg);
 * src/check/reload.c
 *   reload_plan_new
 *     plan_new           plan->config = config_ref(config);
 *     plan_new           plan_fill(plan, old);
 *   reload_plan_free
 *     plan_free          config_unref(plan->config);
 * src/check/checker.c
 *   publish_now
 *     publish_now        c->hooks.publish(c->hooks.arg, c->config, c->views, c->count)
 *   apply
 *     apply              target_adopt(
 *     apply              config_unref(c->config);
 *     apply              c->config = config_ref(plan->config);
 *     apply              publish_now(c);
 *   on_reload
 *     on_reload          apply(c, plan, true);
 *     on_reload          c->hooks.reloaded(
 *     on_reload          reload_plan_free(plan);
 *   checker_reload
 *     checker_reload     reload_plan_new(c->posted, config,
 *     checker_reload     loop_post(c->loop,
 *     checker_reload     config_unref(c->posted);
 *     checker_reload     c->posted = config_ref(config);
 *   on_begin
 *     on_begin           apply(
 *     on_begin           reload_plan_free(
 *   run
 *     checker            loop_run(c->loop);
 *   on_stop
 *     on_stop            target_drop(c->targets[i]);
 *     on_stop            loop_stop(c->loop);
 *   checker_free
 *     checker_free       config_unref(c->config);
 *     checker_free       config_unref(c->posted);
 *   checker_start
 *     checker_start      c->config = config_ref(config);
 *     checker_start      c->posted = config_ref(config);
 *     checker_start      reload_plan_new(NULL, config,
 *     checker_start      publish_unknown(
 *     checker_start      loop_post(c->loop,
 *     checker_start      pthread_create(&c->thread,
 *   checker_stop
 *     checker_stop       loop_post(c->loop, &c->stop);
 *     checker_stop       pthread_join(c->thread, NULL);
 *     checker_stop       checker_free(c);
 * src/check/target.c
 *   on_start
 *     probe_start        probe_start(
 *   count
 *     probe_end          t->ground->checked(
 *   target_drop
 *     on_stop            probe_cancel(t->probe);
 * src/probe/engine.c
 *   probe_start
 *     probe_start        config_ref(conf->owner);
 *   deliver
 *     probe_end          p->done(p, &p->result, p->arg);
 *     probe_end          config_unref(p->conf->owner);
 * src/web/routes.c
 *   answer_from_board
 *     reader             board_acquire();
 *     snapshot_use       fn(req, &v, out, ret);
 *     reader             snapshot_unref(snapshot);
 * src/daemon/notify.c
 *   notify_reloading
 *     status_lock        status_lock();
 *     notify_reloading   under_way++;
 *     notify_reloading   RELOADING=1
 *     status_unlock      status_unlock();
 *   reload_ended
 *     reload_ended       under_way--;
 *     reload_ended       if (under_way == 0 && !stopping)
 *     reload_ended       READY=1
 *   notify_reload_failed
 *     status_lock        status_lock();
 *     reload_failed      older = under_way - 1;
 *     reload_failed      reload_ended();
 *     status_unlock      status_unlock();
 *   notify_reload_applied
 *     status_lock        status_lock();
 *     reload_applied     if (older > 0)
 *     reload_applied     older--;
 *     reload_applied     reload_ended();
 *     status_unlock      status_unlock();
 *   notify_stopping
 *     status_lock        status_lock();
 *     notify_stopping    stopping = true;
 *     notify_stopping    STOPPING=1
 *     status_unlock      status_unlock();
 * src/main.c
 *   on_publish
 *     snapshot_new       snapshot_new(config, views, count, &s);
 *     board_publish      board_publish(s);
 *   on_reloaded
 *     reload_applied     notify_reload_applied();
 *   reload_into
 *     main_reload        r = server_prepare(
 *     main_reload        r = checker_reload(
 *     main_reload        config_unref(d->config);
 *     main_reload        d->config = config_ref(config);
 *   reload
 *     main_reload        notify_reloading();
 *     main_reload        load(d->path,
 *     main_reload        reload_into(d, config,
 *     reload_failed      notify_reload_failed(
 *     main_reload        config_unref(config);
 *   stop
 *     main_stop          notify_stopping();
 *     server_stop        server_stop(
 *     main_stop          checker_stop(
 *   serve
 *     main_serve         .config = config}
 *     main_serve         checker_start(
 *     main_serve         server_start(
 *     main_serve         sigwait(
 *     main_serve         reload(
 *     main_serve         stop(
 *     main_serve         config_unref(d.config);
 *   run
 *     main_run           load(o->path,
 *     main_run           board_open();
 *     main_run           serve(
 *     board_close        board_close();
 */

#ifndef READERS
#define READERS 2
#endif
#ifndef RELOADS
#define RELOADS 2 /* a SIGHUP each; one that comes before the last was taken is none */
#endif
#ifndef RESULTS
#define RESULTS 1 /* checks whose end is published */
#endif

#define CONFIGS (1 + RELOADS)
#define SNAPSHOTS (2 + RELOADS + RESULTS) /* "unknown", the beginning, each reload, each result */

/* A pointer is a number, and 0 is NULL. A snapshot's is its sequence. A letter's to the checker is
 * that of the configuration it brings. */
#define STOP (CONFIGS + 1)

byte config_refs[CONFIGS + 1];
bool config_gone[CONFIGS + 1];
byte snapshot_refs[SNAPSHOTS + 1];
bool snapshot_gone[SNAPSHOTS + 1];
byte snapshot_config[SNAPSHOTS + 1]; /* a reference */
byte snapshot_names[SNAPSHOTS + 1];  /* the configuration that holds its rows' names: borrowed */
bool snapshot_body[SNAPSHOTS + 1];   /* rendered on demand, kept */
byte made;

/* board.c */
byte lock_readers;
bool lock_writer, writer_waits, board_is_open;
byte latest;

/* loop.c: a list, and the place of its last link (0: the head) */
byte inbox, inbox_end, next[STOP + 1];
bool inbox_locked, wake;

/* checker.c: main's, and the loop's */
byte posted;
byte plan_old[CONFIGS + 1]; /* what the plan in that letter was compared with */
byte current, names;        /* the configuration, and the one the views' names lie in */
byte probe;                 /* the configuration of one in flight */
bool checker_ended;

/* main.c, notify.c, the server */
bool term; /* a pending signal */
bool serving;
byte readers;
bool status_locked, stopping;
byte under_way, older;

/* What the claims are about. */
byte ended;    /* the newest snapshot whose publication has ended */
byte bodies;   /* in memory */
byte begun, answered, told; /* reloads: how many; how many; which one the status tells of */
bool answer[RELOADS + 1];
bool reloading;             /* as the supervisor has it */
bool main_ended;

/* ---- references ---- */

inline config_ref(c)
{
    atomic {
        assert(!config_gone[c]); /* claim: no configuration is used after it was freed */
        config_refs[c]++
    }
}

inline config_unref(c)
{
    atomic {
        assert(config_refs[c] > 0); /* claim: no configuration is freed twice */
        config_refs[c]--;
        config_gone[c] = (config_refs[c] == 0)
    }
}

inline snapshot_ref(s)
{
    atomic {
        assert(!snapshot_gone[s]); /* claim: no snapshot is used after it was freed */
        snapshot_refs[s]++
    }
}

inline snapshot_free(s)
{
    d_step {
        assert(!snapshot_gone[s]); /* claim: no snapshot is freed twice */
        bodies = bodies - snapshot_body[s];
        snapshot_body[s] = false;
        snapshot_gone[s] = true
    };
#ifndef BUG_SNAPSHOT_BORROWS
    config_unref(snapshot_config[s]);
#endif
    d_step {
        snapshot_config[s] = 0;
        snapshot_names[s] = 0
    }
}

/* `left` is the caller's. */
inline snapshot_unref(s)
{
#ifdef BUG_COUNT_NOT_ATOMIC
    left = snapshot_refs[s] - 1;
    snapshot_refs[s] = left;
#else
    atomic {
        assert(snapshot_refs[s] > 0); /* claim: no reference is given up twice */
        snapshot_refs[s]--;
        left = snapshot_refs[s]
    };
#endif
    atomic {
        if
        :: left == 0 -> snapshot_free(s)
        :: else
        fi;
        left = 0
    }
}

/* ---- the board ---- */

inline lock_to_read()
{
    !lock_writer && !writer_waits ->
    assert(board_is_open); /* claim: nobody comes to a board that is closed */
    lock_readers++
}

inline unlock_read()
{
    lock_readers--
}

inline lock_to_write()
{
#ifndef BUG_READERS_FIRST
    writer_waits = true;
#endif
    atomic {
        !lock_writer && lock_readers == 0 ->
        assert(board_is_open);
        writer_waits = false;
        lock_writer = true
    }
}

inline unlock_write()
{
    lock_writer = false
}

/* `before` is the caller's. */
inline exchange(s)
{
#ifndef BUG_PUBLISH_WITHOUT_LOCK
    lock_to_write();
#endif
    d_step {
        before = latest;
        latest = s
    };
    d_step {
        unlock_write();
        ended = (s == 0 -> ended : s)
    }
}

inline snapshot_new()
{
    d_step {
        made++;
        snapshot_refs[made] = 1;
        snapshot_config[made] = current;
        snapshot_names[made] = names;
        assert(!config_gone[names]); /* claim: what is published has names */
#ifndef BUG_SNAPSHOT_BORROWS
        assert(!config_gone[current]);
        config_refs[current]++
#endif
    }
}

inline board_publish(s)
{
#ifdef BUG_RELEASE_BEFORE_EXCHANGE
    before = latest;
    if
    :: before != 0 -> snapshot_unref(before)
    :: else
    fi;
    exchange(s);
#else
    exchange(s);
    if
    :: before != 0 ->
#ifdef BUG_FREED_BEFORE_LAST_READER
        snapshot_free(before)
#else
#ifndef BUG_BEFORE_NOT_RELEASED
        snapshot_unref(before)
#endif
#endif
    :: else
    fi;
#endif
    before = 0
}

inline publish_now()
{
    snapshot_new();
    board_publish(made)
}

/* The claims as soon as the snapshot is chosen. */
inline board_acquire()
{
    atomic {
        serving ->
        lock_to_read();
        s = latest;
        assert(s != 0);      /* claim: whoever is served finds results */
        assert(s >= ended);  /* claim: no update is lost */
        assert(s >= newest); /* claim: no reader goes back in time */
        newest = s
    };
#ifdef BUG_UNLOCKED_BEFORE_REFERENCE
    unlock_read();
    snapshot_ref(s)
#else
    atomic {
        snapshot_ref(s);
        unlock_read()
    }
#endif
}

inline board_close()
{
    exchange(0);
    snapshot_unref(before);
    board_is_open = false
}

/* ---- a client's request, on a worker of the server ---- */

inline body_add(s)
{
    if
    :: snapshot_body[s]
    :: !snapshot_body[s] ->
        bodies++;
        atomic {
            if
#ifndef BUG_BODY_WITHOUT_COMPARE
            :: snapshot_body[s] -> bodies--
            :: else -> snapshot_body[s] = true
#else
            :: snapshot_body[s] = true
#endif
            fi
        }
    fi
}

/* Freed memory stays so: what the reader may still use at the end, it could all the time. */
inline snapshot_use(s)
{
    assert(!snapshot_gone[s]);
    assert(!config_gone[snapshot_config[s]]);
    assert(!config_gone[snapshot_names[s]]) /* claim: the names outlive their readers */
}

proctype reader()
{
    byte s, newest, left;
    do
    :: board_acquire();
       body_add(s);
       atomic {
           snapshot_use(s);
           snapshot_unref(s);
           s = 0
       }
    :: !serving -> break
    od;
    readers--
}

/* ---- the loop ---- */

inline lock_inbox()
{
    atomic {
#ifndef BUG_INBOX_WITHOUT_LOCK
        !inbox_locked ->
#endif
        inbox_locked = true
    }
}

inline unlock_inbox()
{
    inbox_locked = false
}

inline loop_post(letter)
{
    lock_inbox();
    if
    :: inbox_end == 0 -> inbox = letter
    :: else -> next[inbox_end] = letter
    fi;
    inbox_end = letter;
    unlock_inbox();
#ifdef BUG_STOP_WITHOUT_WAKE
    if
    :: letter != STOP -> wake = true
    :: else
    fi
#else
    wake = true
#endif
}

/* ---- the checker's thread ---- */

inline plan_new(old, new)
{
    config_ref(new);
    plan_old[new] = old
}

inline plan_free(new)
{
    plan_old[new] = 0;
    config_unref(new)
}

inline apply(new)
{
    /* Rows of the plan name the old targets by their place in the configuration it was compared
     * with: claim: that is the one in force. */
    assert(plan_old[new] == 0 || plan_old[new] == current);
#ifdef BUG_NAMES_NOT_ADOPTED /* the second time: the first configuration stays to the end */
    if
    :: new < 3 -> names = new
    :: else
    fi;
#else
    names = new;
#endif
    config_unref(current);
    config_ref(new);
    current = new;
    publish_now()
}

inline status_lock()
{
    atomic {
        !status_locked -> status_locked = true
    }
}

inline status_unlock()
{
    status_locked = false
}

inline ghost_answer(n)
{
    assert(!answer[n]); /* claim: no reload is answered twice */
    answer[n] = true;
    answered++
}

inline ghost_ready()
{
    assert(!stopping);         /* claim: who is stopping does not say that it is ready */
    assert(answered == begun); /* claim: nor does who is reloading */
    reloading = false
}

inline notify_reloading()
{
    status_lock();
    d_step {
        under_way++;
        begun++;
        reloading = true
    };
    status_unlock()
}

inline reload_ended(n)
{
    under_way--;
    ghost_answer(n);
    if
#ifdef BUG_READY_AT_EACH_END
    :: true -> ghost_ready()
#else
    :: under_way == 0 && !stopping -> ghost_ready()
    :: else
#endif
    fi
}

inline reload_failed(n)
{
    status_lock();
    d_step {
        older = under_way - 1;
        told = n;
        reload_ended(n)
    };
    status_unlock()
}

inline reload_applied(n)
{
    status_lock();
    d_step {
        if
#ifdef BUG_LATE_END_TOLD_LAST
        :: true -> told = n
#else
        :: older > 0 -> older--
        :: else -> told = n
#endif
        fi;
        reload_ended(n)
    };
    status_unlock()
}

inline notify_stopping()
{
    status_lock();
    stopping = true;
    status_unlock()
}

inline on_begin()
{
    apply(1);
    plan_free(1)
}

inline on_reload(new)
{
    apply(new);
    reload_applied(new - 1);
    plan_free(new)
}

inline on_stop()
{
    if
    :: probe != 0 ->
#ifndef BUG_PROBE_BORROWS
        config_unref(probe);
#endif
        probe = 0
    :: else
    fi;
    runs = false
}

inline on_wake()
{
    lock_inbox();
    first = inbox;
    inbox = 0;
    inbox_end = 0;
    unlock_inbox();
    do
    :: first == 0 -> break
    :: first != 0 ->
        d_step {
            after = next[first];
            next[first] = 0
        };
        if
        :: first == 1 -> on_begin()
        :: first > 1 && first < STOP -> on_reload(first)
        :: first == STOP -> on_stop()
        fi;
        d_step {
            first = after;
            after = 0
        }
    od
}

inline probe_start()
{
#ifndef BUG_PROBE_BORROWS
    config_ref(current);
#endif
    probe = current
}

inline probe_end()
{
    assert(!config_gone[probe]); /* claim: a probe's definition outlives it */
    publish_now();
#ifndef BUG_PROBE_BORROWS
    config_unref(probe);
#endif
    probe = 0
}

proctype checker()
{
    byte first, after, before, left, results;
    bool runs = true;
end_asleep:
    do
    :: !runs -> break
    :: runs && wake ->
        wake = false; /* libuv's: before on_wake, so that a later letter wakes anew */
        on_wake()
    :: runs && probe == 0 && results < RESULTS && names != 0 ->
        results++;
        probe_start()
    :: runs && probe != 0 -> probe_end()
    od;
    checker_ended = true
}

/* ---- main ---- */

inline checker_start()
{
    config_ref(1);
    current = 1;
    config_ref(1);
    posted = 1;
    plan_new(0, 1);
    names = 1;
    snapshot_new();
    exchange(made);
    assert(before == 0);
    loop_post(1);
    run checker()
}

inline checker_reload(new)
{
    plan_new(posted, new);
    loop_post(new);
#ifndef BUG_POSTED_NOT_NOTED
    config_unref(posted);
    config_ref(new);
    posted = new
#endif
}

inline checker_free()
{
    config_unref(current);
    config_unref(posted)
}

inline checker_stop()
{
#ifdef BUG_STOP_NOT_TOLD
    skip
#else
    loop_post(STOP);
    checker_ended;
    checker_free()
#endif
}

inline server_stop()
{
    serving = false;
#ifndef BUG_READERS_NOT_AWAITED
    readers == 0
#endif
}

/* A reload's number is one less than its configuration's. It fails before there is one, or after
 * (an address that cannot be had, no memory), or not. */
inline main_reload()
{
    notify_reloading();
    new = begun + 1;
    if
    :: reload_failed(begun);
       new = 0
    :: config_refs[new] = 1;
       if
       :: reload_failed(begun)
       :: checker_reload(new);
          config_unref(d_config);
          config_ref(new);
          d_config = new
       fi
    fi;
    if
    :: new != 0 -> config_unref(new)
    :: else
    fi;
    new = 0
}

inline main_stop()
{
    notify_stopping();
    server_stop();
    checker_stop()
}

inline main_serve()
{
    d_config = 1;
    checker_start();
    serving = true;
    atomic {
        readers = READERS;
        do
        :: i < READERS ->
            run reader();
            i++
        :: else -> break
        od
    };
end_asleep:
    do
    :: begun < RELOADS -> main_reload() /* a SIGHUP */
    :: term -> break
    od;
    main_stop();
    config_unref(d_config)
}

inline main_run()
{
    config_refs[1] = 1;
    board_is_open = true;
    main_serve();
    board_close()
}

inline ghost_end()
{
    d_step {
        /* claim: all memory is freed */
        for (i : 1 .. made) {
            assert(snapshot_gone[i] && snapshot_refs[i] == 0)
        }
        for (i : 1 .. CONFIGS) {
            assert(config_refs[i] == 0)
        }
        assert(bodies == 0);
        /* claim: each reload is answered, and the last one's end is what is told */
        for (i : 1 .. begun) {
            assert(answer[i])
        }
        assert(told == begun)
    }
}

active proctype main()
{
    byte d_config, new, before, left, i;
    main_run();
    ghost_end();
    main_ended = true
}

/* Sends SIGTERM at any time, or never. */
active proctype administrator()
{
    if
    :: term = true
    :: skip
    fi
}

ltl stop_ends { [] (term -> <> main_ended) }
ltl reload_is_answered { [] (begun > answered -> <> (begun == answered)) }
ltl publication_ends { [] (made > ended -> <> (made == ended)) }
