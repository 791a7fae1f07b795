// Breakout groups: the host's panel, and for everybody the ways over and back.
// Nobody is moved: who is invited goes by themself.

const $ = (id) => document.getElementById(id);

export class Groups {
  /** The group that we are in, or null in the main room. */
  at = null;
  #page;
  #people;
  #explain;
  #keeps = false;
  #open = []; // {id, title, people}: known to the host
  #invited = null; // the group that we are asked over to

  constructor({ page, people, explain }) {
    this.#page = page;
    this.#people = people;
    this.#explain = explain;
    $("groups").addEventListener("beforetoggle", ({ newState }) => newState === "open" && this.#list());
    $("group-form").addEventListener("submit", (event) => this.#invite(event));
    $("go-over").addEventListener("click", () => this.#goOver(this.#invited));
    $("stay").addEventListener("click", () => this.#hideInvitation());
    $("go-back").addEventListener("click", () => page.move(null));
  }

  begin() {
    this.at = null;
    this.#open = [];
    this.#hideInvitation();
  }

  joined({ group, groups, keeps }) {
    this.at = group;
    this.#keeps = keeps;
    if (!group) {
      this.#open = groups.map((id, i) => this.#open.find((known) => known.id === id) ?? { id, title: `Group ${i + 1}`, people: [] });
    }
    $("groups-button").hidden = !keeps || Boolean(group);
    this.#away(group ? "You are in a breakout group." : "");
    if (group) this.#hideInvitation();
    this.changed();
  }

  end() {
    $("groups").hidePopover();
    $("groups-button").hidden = true;
    this.#away("");
    this.#hideInvitation();
  }

  /** People came or went. */
  changed() {
    if ($("groups").matches(":popover-open")) this.#list();
  }

  invited(name, group) {
    this.#invited = group;
    $("invitation").querySelector("span").textContent = `${name} asks you over into a breakout group.`;
    $("invitation").hidden = false;
  }

  /** The host says that this group is over. */
  ended(group) {
    if (group === this.#invited) this.#hideInvitation();
    if (group === this.at) this.#page.gone();
  }

  /** The room we are in is over. */
  gone() {
    if (this.at) this.#away("This group has ended.");
    else this.#page.goHome("The host has closed the room.");
  }

  #away(text) {
    $("away").querySelector("span").textContent = text;
    $("away").hidden = !text;
  }

  #hideInvitation() {
    this.#invited = null;
    $("invitation").hidden = true;
  }

  #goOver(group) {
    $("groups").hidePopover();
    this.#hideInvitation();
    this.#page.move(group);
  }

  async #invite(event) {
    event.preventDefault();
    const chosen = [...$("group-people").querySelectorAll("input:checked")].map((box) => box.value);
    if (!chosen.length) return this.#page.toast("Choose who should go over.");
    const title = $("group-title").value.trim() || this.#nextTitle();
    const names = new Map(this.#people().map(({ user, name }) => [user, name]));
    const outcome = await this.#page.wire.group(chosen, title);
    if (outcome.refused) return this.#explain(outcome, "open groups");
    this.#open.push({ id: outcome.groupId, title, people: chosen.map((user) => ({ user, name: names.get(user) })) });
    $("group-form").reset();
    this.#list();
    this.#page.toast(`Invited into “${title}”`);
  }

  async #end(group) {
    const outcome = await this.#page.wire.endGroup(group.id);
    if (outcome.refused && outcome.refused !== "absent") return this.#explain(outcome, "end groups");
    this.#open = this.#open.filter((other) => other !== group);
    for (const { user } of group.people) this.#page.wire.note(user, { note: "ended", group: group.id }); // the dialect tells nobody
    this.#list();
  }

  #nextTitle() {
    return `Group ${this.#open.length + 1}`;
  }

  // ---- the host's panel

  #list() {
    const chosen = new Set([...$("group-people").querySelectorAll("input:checked")].map((box) => box.value));
    const here = this.#people();
    $("group-people").replaceChildren(...here.map(({ user, name }) => choice(user, name, chosen.has(user))));
    $("group-form").hidden = !here.length;
    $("group-nobody").hidden = here.length > 0;
    $("group-title").placeholder = this.#nextTitle();
    $("group-list").replaceChildren(...this.#open.map((group) => this.#row(group)));
  }

  #row(group) {
    const row = document.createElement("li");
    const title = document.createElement("b");
    title.textContent = group.title;
    const who = document.createElement("span");
    who.textContent = group.people.map(({ name }) => name).join(", ");
    row.append(title, who, button("Go over", () => this.#goOver(group.id)), button("End", () => this.#end(group)));
    return row;
  }
}

function choice(user, name, checked) {
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", value: user, checked });
  const text = document.createElement("span");
  text.textContent = name;
  label.append(box, text);
  return label;
}

function button(text, act) {
  const b = Object.assign(document.createElement("button"), { type: "button", className: "small", textContent: text });
  b.addEventListener("click", act);
  return b;
}
