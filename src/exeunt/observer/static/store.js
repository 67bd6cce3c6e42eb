// The picture as the server has it: sections of rows, brought up to date by what has changed.

export class Store {
  constructor() {
    this.version = -1;
    this.picture = {};
  }

  // Take a whole picture.
  begin(version, picture) {
    this.version = version;
    this.picture = picture;
  }

  // Take a change. Returns false if one before it is missing.
  take(version, change) {
    if (version <= this.version) return true; // made before the picture was
    if (version !== this.version + 1) return false;
    this.version = version;
    for (const [section, {put, change: fields, drop, gone}] of Object.entries(change)) {
      if (gone) {
        delete this.picture[section];
        continue;
      }
      const rows = (this.picture[section] ??= {});
      for (const key of drop ?? []) delete rows[key];
      Object.assign(rows, put);
      // Another object for a row that has changed, so that one that has not can be told by it.
      for (const [key, changed] of Object.entries(fields ?? {})) rows[key] = {...rows[key], ...changed};
    }
    return true;
  }

  get node() {
    return this.picture.node?.node;
  }

  rows(section) {
    return this.picture[section] ?? {};
  }
}
